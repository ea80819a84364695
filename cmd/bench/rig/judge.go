package rig

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// stream is what a manifest's quality says of one leg.
type stream struct {
	Channel  string `json:"channel"`
	Packets  uint64 `json:"packets"`
	Lost     uint64 `json:"lost"`
	Late     uint64 `json:"late"`
	Overflow uint64 `json:"overflow"`
}

// How much longer than its media a recording may be: the way from the answer
// to the first packet, and from the last one to BYE.
const (
	shorter = 40 * time.Millisecond
	longer  = 2 * time.Second
)

// Manifests are those of all finished recordings in the folder.
func (s *Server) Manifests() ([]store.Manifest, error) {
	var list []store.Manifest
	err := filepath.WalkDir(filepath.Join(s.Dir, "recordings"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != store.ManifestFile {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var m store.Manifest
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("%s: %w", d.Name(), err)
		}
		list = append(list, m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	return list, nil
}

// JudgeReport holds what the caller saw against what it was asked for.
func JudgeReport(r siprectest.Report, l Load) (faults []string) {
	t := r.Totals
	if t.Calls != l.Calls || t.Completed != l.Calls {
		faults = append(faults, fmt.Sprintf("%d of %d calls completed (answers: %v)", t.Completed, l.Calls, t.Codes))
	}
	if want := 2 * int(l.Packets()) * l.Calls; t.Packets.Sent != want || t.Packets.Failed > 0 {
		faults = append(faults, fmt.Sprintf("%d of %d packets sent", t.Packets.Sent-t.Packets.Failed, want))
	}
	return faults
}

// JudgeManifests holds the recordings against the calls.
func JudgeManifests(list []store.Manifest, l Load) (faults []string) {
	if len(list) != l.Calls {
		faults = append(faults, fmt.Sprintf("%d recordings of %d calls", len(list), l.Calls))
	}
	var all stream
	incomplete := 0
	for _, m := range list {
		legs, err := counts(m)
		all.add(legs)
		length := time.Duration(m.Duration * float64(time.Second))
		if err != nil || m.Interrupted || len(m.Gaps) > 0 || length < l.Length-shorter || length > l.Length+longer {
			incomplete++
		}
	}
	if want := 2 * l.Packets() * uint64(l.Calls); all.Lost+all.Late+all.Overflow > 0 || all.Packets != want {
		faults = append(faults, fmt.Sprintf("%d of %d packets recorded, %d lost, %d too late, %d overflowed", all.Packets, want, all.Lost, all.Late, all.Overflow))
	}
	if incomplete > 0 {
		faults = append(faults, fmt.Sprintf("%d recordings incomplete", incomplete))
	}
	return faults
}

// counts sums up what a manifest says of its two legs.
func counts(m store.Manifest) (sum stream, err error) {
	var legs []stream
	if err := json.Unmarshal(m.Quality, &legs); err != nil {
		return sum, err
	}
	sides := map[string]bool{}
	for _, s := range legs {
		sum.add(s)
		sides[s.Channel] = true
	}
	if len(legs) != 2 || !sides["left"] || !sides["right"] {
		return sum, errors.New("not two parties")
	}
	return sum, nil
}

// add adds another stream's packets.
func (s *stream) add(o stream) {
	s.Packets, s.Lost, s.Late, s.Overflow = s.Packets+o.Packets, s.Lost+o.Lost, s.Late+o.Late, s.Overflow+o.Overflow
}

// List is what `siprecd list --json` says.
func (s *Server) List(ctx context.Context) ([]store.Row, error) {
	out, err := s.Run(ctx, "list", "--json")
	if err != nil {
		return nil, err
	}
	var rows []store.Row
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		var r store.Row
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read the list: %w", err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// JudgeList wants every call listed as finished.
func JudgeList(rows []store.Row, calls int) (faults []string) {
	good := 0
	for _, r := range rows {
		if r.State == store.Finished && !r.Interrupted {
			good++
		}
	}
	if good != calls || len(rows) != calls {
		faults = append(faults, fmt.Sprintf("%d recordings are listed, %d as finished, of %d calls", len(rows), good, calls))
	}
	return faults
}
