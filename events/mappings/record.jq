# A person's record as an HR API gives it that has no mapping of its own here:
# {"employeeId": "E1004", "status": "prehire", "startDate": "2026-12-01"}.
#
# status     prehire, active or terminated
# startDate  and lastDay are dates; a terminated record without lastDay is a leaver at
#            once
# returns    true for somebody who was here before
# timeZone   falls back to that of the source

include "employment";

.startDate |= date | .lastDay |= date | employment
