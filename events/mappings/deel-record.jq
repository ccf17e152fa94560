# A Deel contract: GET /rest/v2/contracts/{id} (developer.deel.com/api/endpoints/contracts/get-contract).
# Its external_id is the number that the customer gave the worker ("Add external Id"),
# which the directory keeps as employeeId; without one it is the id of the contract.
#
# Nothing is said of a contract that is not signed by everybody yet. A cancelled or
# rejected one withdraws a start.

include "employment";

.data as $c
| ($c.external_id // $c.id | tostring) as $id
| if ["cancelled", "user_cancelled", "rejected"] | index($c.status) != null then
    {type: "employee.cancelled", subject: $id, data: {person: {employeeId: $id}, cancels: "joiner"}}
  elif ["in_progress", "onboarding", "onboarded", "completed", "terminated"] | index($c.status) != null then
    {
      employeeId: $id,
      status: (if $c.status == "completed" or $c.status == "terminated" then "terminated" else "active" end),
      startDate: ($c.start_date | date),
      lastDay: ($c.termination_date | date)
    } | employment
  elif ["new", "under_review", "processing_payment", "awaiting_deposit_payment"] | index($c.status) != null
    or (($c.status // "") | startswith("waiting_for_")) then empty
  else error("the status of the contract is unknown") end
