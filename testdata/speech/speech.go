// Package speech holds two short recordings of a made-up conversation: a
// caller reports a missed bin collection and an agent answers. They are in
// step: played together from the same instant the two take turns, and both
// are equally long, so that the conversation can be repeated without drifting
// apart.
//
// The files are 8 kHz, 16 bit, mono WAV, made with espeak-ng and set to an RMS
// level of -20 dBFS (0 dBFS: RMS 32768) over the parts where the party talks.
package speech

import _ "embed"

// Caller returns caller.wav, the caller's side of the conversation.
func Caller() []byte { return callerWAV }

// Agent returns agent.wav, the agent's side of the conversation.
func Agent() []byte { return agentWAV }

//go:embed caller.wav
var callerWAV []byte

//go:embed agent.wav
var agentWAV []byte
