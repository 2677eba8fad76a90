package store

// SetMinFreeBytes moves the watermark of an open store, as if the disk had filled up.
func (s *Badger) SetMinFreeBytes(n uint64) { s.options.MinFreeBytes = n }
