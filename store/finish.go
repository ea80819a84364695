package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/journal"
	"siprecd/store/kept"
	"siprecd/store/seal"
	"siprecd/store/work"
)

// cut is told by the journal that a segment is whole and durable.
func (s *Store) cut(g journal.Segment) {
	r := s.liveRecording(g.ID)
	if r == nil {
		return
	}
	s.pool.Submit(work.Job{What: "seal segment", ID: r.name, Run: func() error { return r.sealWhole(int(g.Seq)) }})
}

// sealWhole seals a segment of full length and books it in the catalogue. Then
// the journal may forget it.
func (r *Recording) sealWhole(seq int) error {
	r.sealing.Lock()
	defer r.sealing.Unlock()
	if r.state.has(seq) || r.isDiscarded() {
		return nil
	}
	before := r.state
	if err := r.sealAndBook(seq); err != nil {
		r.state = before
		return err
	}
	r.store.journal.Release(journal.Segment{ID: r.id, Seq: uint32(seq)})
	return nil
}

func (r *Recording) sealAndBook(seq int) error {
	if err := r.sealSegment(seq, (seq+1)*r.state.Per, -1); err != nil {
		return err
	}
	if err := disk.SyncDir(r.store.root, disk.FolderOf(r.id)); err != nil {
		return err
	}
	r.mu.Lock()
	r.row.count(r.state.Segments)
	r.mu.Unlock()
	e, err := r.entry(partState)
	if err != nil {
		return err
	}
	return r.store.catalog.Put(e)
}

// count copies what a list shows of the segments.
func (row *Row) count(segments []ManifestSegment) {
	row.Segments, row.Bytes = len(segments), 0
	for _, m := range segments {
		row.Bytes += m.Bytes
	}
}

// makeFolder makes the recording's folder when it is first needed.
func (r *Recording) makeFolder() (disk.Folder, error) {
	if r.folder.Root != nil {
		return r.folder, nil
	}
	f, err := r.store.tree.Make(disk.FolderOf(r.id))
	if err == nil {
		r.folder = f
	}
	return f, err
}

// sealSegment writes segment seq, which ends before packet end, and adds it to
// the state. total is the call's length in samples, to trim the last segment's
// end; negative: not trimmed. The folder is not synced yet.
func (r *Recording) sealSegment(seq, end int, total int64) error {
	st, from := &r.state, seq*r.state.Per
	content, err := r.store.journal.Read(journal.Segment{ID: r.id, Seq: uint32(seq)}, st.Per)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if content.Damaged > 0 {
		st.Damaged = true
		r.store.log.Error("journal frames do not open", "id", r.name, "segment", seq, "frames", content.Damaged)
	}
	laid := kept.Lay(content, from, end)
	start := st.cutting().Start(seq)
	samples := st.cutting().Length(end) - start
	if total >= 0 {
		samples = max(0, min(samples, total-start))
	}
	data, err := laid.Encode(st.coding(), r.id, seq, samples)
	if err != nil {
		return fmt.Errorf("encode segment: %w", err)
	}
	f, err := r.makeFolder()
	if err != nil {
		return err
	}
	sum, err := f.Put(kept.SegmentName(seq), data)
	if err != nil {
		r.folder = disk.Folder{} // it may be gone: the next try makes it
		return err
	}
	for _, m := range laid.Missing {
		st.Gaps = append(st.Gaps, st.gap(m))
	}
	st.Segments = append(st.Segments, ManifestSegment{
		File: kept.SegmentName(seq), Seq: seq, Start: kept.Seconds(start), Samples: samples, Bytes: int64(len(data)), SHA256: sum,
	})
	return nil
}

// gap is the stretch of the timeline where packets were not stored.
func (s *state) gap(m journal.Range) Gap {
	return Gap{
		Channel: "both", Reason: "not stored", Packets: m.To - m.From,
		From: kept.Seconds(s.cutting().Length(m.From)), To: kept.Seconds(s.cutting().Length(m.To)),
	}
}

// Finish ends the recording and returns nil once all of it is durable: last
// segment, details, signed manifest and the row as finished. When ctx ends
// first, or the disk fails, the error says so and the work goes on in the
// background. A second call waits for the first.
func (r *Recording) Finish(ctx context.Context, c Closing) error {
	r.mu.Lock()
	first := r.closing == nil
	if first {
		r.packets = r.stream.Close()
		c.Details.Keep(r.details)
		r.closing = &c
	}
	r.mu.Unlock()
	if first {
		err := r.store.journal.Flush(ctx) // here, not in the pool: it may wait for the disk
		r.submitFinish()
		if err != nil {
			return fmt.Errorf("finish recording: %w", err)
		}
	}
	select {
	case <-r.done:
		return nil
	case <-r.store.life.Done():
		return fmt.Errorf("finish recording: %w", ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("finish recording: %w", ctx.Err())
	}
}

func (r *Recording) submitFinish() {
	r.store.pool.Submit(work.Job{What: "finish recording", ID: r.name, Urgent: true, Hasty: r.stream == nil, Run: r.finish})
}

// finish is the job behind Finish; it may run again after a failure. A manifest
// that is signed was written by a run that came as far as that: it holds, and
// only the catalogue is behind.
func (r *Recording) finish() error {
	if r.stream != nil {
		if err := r.store.journal.FlushWithin(2*time.Second, r.store.life.Done()); err != nil {
			return err
		}
	}
	r.sealing.Lock()
	defer r.sealing.Unlock()
	r.mu.Lock()
	closing, packets := *r.closing, r.packets
	r.mu.Unlock()
	if m := kept.Valid(r.store.root, disk.FolderOf(r.id), r.name, r.store.signer.Public()); m != nil {
		return r.book(closing, *m)
	}
	total := closing.Samples
	if total <= 0 {
		total = -1
	}
	if err := r.sealRest(packets, total); err != nil {
		return err
	}
	m := r.manifest(closing)
	if err := r.writeManifest(&m, closing.Details); err != nil {
		return err
	}
	return r.book(closing, m)
}

// sealRest seals every segment that is not sealed yet.
func (r *Recording) sealRest(packets int, total int64) error {
	cut := r.state.cutting()
	for seq := range cut.Segments(packets) {
		if r.state.has(seq) {
			continue
		}
		end, limit := (seq+1)*cut.Per, int64(-1)
		if end >= packets {
			end, limit = packets, total
		}
		if err := r.sealSegment(seq, end, limit); err != nil {
			return err
		}
	}
	slices.SortFunc(r.state.Segments, func(a, b ManifestSegment) int { return a.Seq - b.Seq })
	return nil
}

func (r *Recording) manifest(c Closing) Manifest {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := &r.state
	m := Manifest{
		Schema: kept.ManifestSchema, ID: r.name, Line: r.row.Line, Queue: r.row.Queue,
		Started: r.row.Started, Ended: c.Ended.UTC().Truncate(time.Millisecond),
		Interrupted: r.row.Interrupted, Cause: c.Cause, Flags: c.Flags,
		Decision: st.Decision, Channels: kept.Channels(st.Channels),
		Codec:    ManifestCodec{Name: "opus", Rate: st.Rate, Bitrate: st.Bitrate, PreSkip: st.PreSkip},
		Segments: st.Segments, Gaps: append(slices.Clone(c.Gaps), st.Gaps...),
		Quality: c.Quality, Keybox: st.Keybox, SignedBy: r.store.signer.KeyID(),
	}
	if r.decision != nil {
		m.Decision = r.decision
	}
	if m.Segments == nil {
		m.Segments = []ManifestSegment{}
	}
	for _, g := range st.Segments {
		m.Samples += g.Samples
	}
	m.Duration = kept.Seconds(m.Samples)
	if len(st.Gaps) > 0 {
		m.Flags = append(slices.Clone(m.Flags), "audio not stored")
	}
	if st.Damaged {
		m.Flags = append(slices.Clone(m.Flags), "journal damaged")
	}
	return m
}

// writeManifest writes the details and the manifest with its signature.
func (r *Recording) writeManifest(m *Manifest, d Details) error {
	f, err := r.makeFolder()
	if err != nil {
		return err
	}
	plain, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("encode details: %w", err)
	}
	sealed, err := seal.SealTo(r.state.Recipient, plain)
	if err != nil {
		return fmt.Errorf("seal details: %w", err)
	}
	m.Details = ManifestFileInfo{File: DetailsFile, Bytes: int64(len(sealed))}
	if m.Details.SHA256, err = f.Put(DetailsFile, sealed); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	text = append(text, '\n')
	if _, err := f.Put(ManifestFile, text); err != nil {
		return err
	}
	if _, err := f.Put(SignatureFile, r.store.signer.Sign(text)); err != nil {
		return err
	}
	return f.Sync()
}

// book makes the recording finished in the catalogue and lets the journal go.
func (r *Recording) book(c Closing, m Manifest) error {
	r.mu.Lock()
	row := r.row
	r.mu.Unlock()
	row.State, row.Ended, row.Duration = Finished, m.Ended, m.Duration
	row.Cause, row.Flags, row.Interrupted = m.Cause, m.Flags, m.Interrupted
	row.Line, row.Queue = m.Line, m.Queue
	row.count(m.Segments)
	d := c.Details
	d.Documents = nil // large; they stay in details.json.age
	row.show(d)
	e := catalog.Entry{ID: r.id, Over: true, Line: row.Line, Numbers: r.store.numbersOf(d), Add: catalog.Totals{Recordings: 1, Bytes: row.Bytes}}
	var err, err2 error
	e.Row, err = json.Marshal(row)
	e.Details, err2 = json.Marshal(d)
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("encode row: %w", err)
	}
	r.store.Ended(r.id, m.Interrupted, r.stream == nil)
	if err := r.store.catalog.PutLive(e); err != nil {
		return err
	}
	for _, g := range m.Segments {
		r.store.journal.Release(journal.Segment{ID: r.id, Seq: uint32(g.Seq)})
	}
	s := r.store
	s.mu.Lock()
	delete(s.live, r.id)
	s.counts.finished++
	s.mu.Unlock()
	close(r.done)
	return nil
}
