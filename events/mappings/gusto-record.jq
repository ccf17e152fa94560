# The employments of a Gusto employee: GET /v1/employees/{uuid}/employment_history, which
# has one entry for each employment, a planned rehire among them, with hire_date and
# termination_date (docs.gusto.com/embedded-payroll/reference/get-v1-employees-employee_id-employment_history;
# scope employments:read). The answer does not say whose it is; the event does.
#
# termination_date is the last day at work. Gusto has no status here: the dates decide.

include "employment";

if type != "array" then error("no list of employments") else . end
| map(select(.hire_date != null)) | sort_by(.hire_date)
| . as $all
| if $all == [] then empty else $all[-1] end
| {
    employeeId: $source.employeeId,
    startDate: (.hire_date | date),
    lastDay: (.termination_date | date),
    returns: ($all | length > 1),
    previousLastDay: ($all[-2].termination_date | date)
  }
| (if .lastDay != null and .lastDay < yesterday then .status = "terminated" else .status = "active" end)
| employment
