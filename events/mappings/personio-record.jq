# The employments of a Personio person: GET /v2/persons/{id}/employments
# (developer.personio.de/reference/get_v2-persons-person-id-employments). The newest comes
# first; an earlier one makes it a return.
#
# The status is ONBOARDING, ACTIVE, LEAVE, INACTIVE or UNSPECIFIED, where LEAVE is an
# absence. last_working_day is the last day at work, termination_date the end of the
# contract: whoever no longer works is shut out. Fields that the credentials may not read
# are left out of the answer, hence the question for the start date.

include "employment";

def last: .termination.last_working_day // .termination.termination_date // .employment_end_date | date;

if (._data | type) != "array" then error("no _data") else ._data end
| . as $all
| if $all == [] then empty else $all[0] end
| if has("employment_start_date") then . else
    error("employment_start_date is missing: let the API credentials read the employment attributes") end
| {
    employeeId: .person.id,
    status: ({ONBOARDING: "prehire", ACTIVE: "active", LEAVE: "active", INACTIVE: "terminated"}[.status] // error("status is unknown")),
    startDate: (.employment_start_date | date),
    lastDay: last,
    returns: ($all | length > 1),
    previousLastDay: ($all[1] | last)
  }
| employment
