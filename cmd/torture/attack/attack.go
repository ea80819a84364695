// Package attack holds the rows in which somebody attacks the signalling.
//
//	flood     forged sources; more calls than anyone may ask for
//	slow      connections that are never done
//	order     dialogs whose requests come all at once
//	size      messages from 1 to 60 kB
//	bodies    bombs in XML, SDP and multipart
//	limits    no ports and no descriptors left
//	parse     broken and mutated messages
//
// Every row attacks the real binary from addresses of 127.0.0.0/8 that are not
// the live calls', and looks at those calls while it does.
package attack

import "siprecd/cmd/torture/rig"

// Rows are C1 to C9 of the goal table.
func Rows() []rig.Row {
	return []rig.Row{
		{ID: "C1", What: "broken, mutated and incomplete messages", Rounds: 6500, Short: 700, Run: messages},
		{ID: "C2", What: "mutated calls, from the socket to the index", Rounds: 15000, Short: 300, Run: mutants},
		{ID: "C3", What: "dialogs whose requests come all at once", Rounds: 10000, Short: 80, Run: pipelined},
		{ID: "C4", What: "forged sources", Rounds: 200000, Short: 20000, Run: forged},
		{ID: "C5", What: "new calls by the thousand in two seconds", Rounds: 10000, Short: 1500, Run: invites},
		{ID: "C6", What: "slow, dripping and stalled connections", Rounds: 2000, Short: 200, Run: slow},
		{ID: "C7", What: "messages and answers of every size", Rounds: 40, Short: 8, Run: sizes},
		{ID: "C8", What: "hostile bodies", Rounds: 400, Short: 40, Run: bodies},
		{ID: "C9", What: "no ports and no descriptors left", Rounds: 10000, Short: 150, Run: exhausted},
	}
}
