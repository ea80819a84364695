//go:build goexperiment.runtimesecret

package seal

import "runtime/secret"

// guarded runs f, which handles keys: registers and stack are cleared when it
// returns, and what it allocated when the collector frees it.
func guarded(f func()) { secret.Do(f) }
