# A HiBob employee: POST /v1/people/{id} with the fields root.id, work.startDate,
# work.originalStartDate, internal.lifecycleStatus and internal.terminationDate
# (apidocs.hibob.com/docs/people-read-api-contract). Root fields come without their
# prefix, the others nested by category.
#
# A field that the service user may not read is left out without a word (same page), so
# that a leaver would look like somebody who stays: the status must be there. On leave is
# not a leaving. Dates come as dates unless humanReadable is asked for; do not ask.

include "employment";

(.internal.lifecycleStatus // error("internal.lifecycleStatus is missing: let the service user read the category Lifecycle") | ascii_downcase) as $status
| {
    employeeId: .id,
    status: (if $status == "terminated" then "terminated" elif $status == "hired" then "prehire" else "active" end),
    startDate: (.work.startDate | date),
    lastDay: (.internal.terminationDate | date),
    returns: ((.work.originalStartDate | date) as $first | $first != null and $first < (.work.startDate | date))
  }
# Hired with a first day long ago is a record that nobody kept up, and no start.
| if .status == "prehire" and .startDate != null and .startDate < yesterday then .status = "active" else . end
| employment
