package config

import (
	_ "embed" // the example is part of the program
	"strings"
)

//go:embed example.yaml
var example string

// recipientsMark is the line of the example that the recipients replace.
const recipientsMark = "    # RECIPIENTS\n"

// Example gives a complete, commented configuration with the recipients
// filled in: every key, with its default where it has one.
func Example(recipients []string) []byte {
	var list strings.Builder
	for _, r := range recipients {
		list.WriteString("    - " + r + "\n")
	}
	return []byte(strings.Replace(example, recipientsMark, list.String(), 1))
}
