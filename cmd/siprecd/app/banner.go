package app

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"siprecd/cmd/siprecd/config"
)

// Banner tells on one screen what the recorder does and where to point what.
func (a *App) Banner(w io.Writer, cfg *config.Config, canary *CanaryResult) error {
	var b strings.Builder
	b.WriteString("\n")
	if canary != nil {
		writeCanary(&b, canary)
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "siprecd %s is recording %s.\n\n", a.version, lineCount(cfg))
	row("Point the SBC at", "%s", strings.Join(a.Addrs(), "  "))
	row("Media arrives at", "%s, UDP ports %d-%d", cfg.Media.Address, cfg.Media.Ports.Min, cfg.Media.Ports.Max)
	row("Clients allowed", "%s", join(cfg.SIP.Peers))
	if url := a.StatusURL(); url != "" {
		row("Status", "%s", url)
	}
	row("Recordings", "%s, sealed to %d recipients", cfg.Store.Dir, len(cfg.Store.Recipients))
	row("Configuration", "%s", cfg.File)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n  See what was recorded:  siprecd list --config %s\n  Place a call yourself:  siprecd call --config %s\n\n", cfg.File, cfg.File)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCanary tells the canary's story.
func writeCanary(b *strings.Builder, c *CanaryResult) {
	fmt.Fprintf(b, "Canary call recorded: finished, decrypted, both parties heard in their channels.\n")
	fmt.Fprintf(b, "  recording %s\n", c.ID)
	fmt.Fprintf(b, "  taken at %s, answered in %.0f ms, %.2f s recorded of a call of %.2f s\n",
		c.Target, float64(c.Setup.Microseconds())/1000, c.Length.Seconds(), c.Call.Seconds())
	fmt.Fprintf(b, "  caller %d Hz left %.1f dBFS, our side %d Hz right %.1f dBFS, leakage %.0f dB\n\n",
		CanaryLeft, c.Left, CanaryRight, c.Right, c.Leakage)
}

// lineCount says how many lines are listed, and how many only at times.
func lineCount(cfg *config.Config) string {
	campaigns := 0
	for _, l := range cfg.Policy.Lines {
		if !l.Always {
			campaigns++
		}
	}
	s := fmt.Sprintf("the calls of %d listed lines", len(cfg.Policy.Lines))
	if campaigns > 0 {
		s += fmt.Sprintf(", %d of them during campaigns only", campaigns)
	}
	return s
}

func join[T fmt.Stringer](in []T) string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = v.String()
	}
	return strings.Join(out, "  ")
}
