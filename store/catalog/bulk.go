package catalog

import "siprecd/store/bolt"

// PutAll writes many new recordings, each with the same keybox, in one
// transaction a file: for folders that are made to be measured.
func (c *Catalog) PutAll(list []Entry, keybox []byte) error {
	err := c.keys.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(boxes))
		b.FillPercent = 0.9
		for _, e := range list {
			if err := b.Put(e.ID[:], keybox); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.Put(list...)
}
