# A BambooHR employee: GET /api/v1/employees/{id} with the fields id, status, hireDate,
# originalHireDate and terminationDate, and onlyCurrent=false, without which dates in the
# future are left out (documentation.bamboohr.com/reference/get-employee).
#
# A field that the API user may not see is left out of the answer as well, hence the
# questions with has: no leaver may look like somebody who stays. The status is Active
# until the termination date is reached. The directory keeps BambooHR's id as employeeId;
# where it keeps the employee number, ask for that field and name it below.

include "employment";

if has("status") and has("hireDate") and has("terminationDate") then . else
  error("status, hireDate or terminationDate is missing: the API user may not see it, or the URL does not ask for it") end
| {
    employeeId: .id,
    status: (if .status == "Active" then "active" elif .status == "Inactive" then "terminated" else error("status is neither Active nor Inactive") end),
    startDate: (.hireDate | date),
    lastDay: (.terminationDate | date),
    returns: ((.originalHireDate | date) as $first | $first != null and $first < (.hireDate | date))
  }
| employment
