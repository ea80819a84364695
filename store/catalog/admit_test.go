package catalog

import (
	"errors"
	"testing"
	"time"

	"siprecd/store/bolt"
)

// TestAdmitSoon has a disk that does not answer: an admission is given up, the
// next is refused at once, and when the disk has taken the first after all,
// nothing is left of it.
func TestAdmitSoon(t *testing.T) {
	c, _ := openCatalog(t)
	release, inside := make(chan struct{}), make(chan struct{})
	stalled := make(chan error, 1)
	go func() {
		stalled <- c.rows.Update(func(*bolt.Tx) error {
			close(inside)
			<-release
			return nil
		})
	}()
	<-inside
	late := Entry{ID: ID{1}, Row: []byte("row"), Details: []byte("details"), State: []byte("state"), Line: "line", Numbers: []string{"020 8825 7050"}}
	if err := c.admitWithin(50*time.Millisecond, late, []byte("box")); !errors.Is(err, ErrSlow) {
		t.Errorf("late one: %v", err)
	}
	began := time.Now()
	if err := c.admitWithin(time.Hour, Entry{ID: ID{2}}, []byte("box")); !errors.Is(err, ErrSlow) || time.Since(began) > 10*time.Second {
		t.Errorf("next one: %v", err)
	}
	close(release)
	if err := <-stalled; err != nil {
		t.Fatal(err)
	}
	c.late.work.Wait()
	if _, err := c.Row(late.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("row of the late one: %v", err)
	}
	if _, err := c.Keybox(late.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("keybox of the late one: %v", err)
	}
	if list := faults(c); len(list) != 0 {
		t.Errorf("faults: %v", list)
	}
	if err := c.admitWithin(time.Minute, Entry{ID: ID{3}, Row: []byte("row"), State: []byte("state")}, []byte("box")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
