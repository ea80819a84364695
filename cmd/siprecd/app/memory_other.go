//go:build !linux

package app

// guardMemory does nothing where the system has no such switch.
func guardMemory() error { return nil }
