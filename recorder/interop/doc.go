// Package interop holds the case table: what recording clients of every make
// send, and what must come of it. It has no code of its own, only tests.
//
//	table ──► row: numbers, name, run
//	            │
//	          peer (raw SIP over UDP, TCP, TLS) ──► a whole recorder ──► kept
//	          source (RTP, a tone each)         ──►   on loopback        │
//	            └──────────────── judged: answers, list, details, audio ◄┘
//
// The rows carry the numbers of the field notes' cases, 1 to 140, and of the
// RFC checklist, R1 to R57. TestNoneMissing fails when a number has neither a
// row nor a reason why it does not apply.
//
// Promises. A row speaks through sockets only, and shares no code with the
// recorder for what it sends: bytes are written here, or stand in a file of
// testdata/siprec. It judges what a user gets: the response on the wire, the
// finished recording as the console opens it, the status. Rows run in
// parallel, each with a recorder and a store of its own.
//
// Caveats. Calls last about a second, so nothing here measures drift or load:
// the rows that name such a case refer to the shape, and the figures are held
// in the packages below.
package interop
