// Package journal keeps small records durable at the price of one flush each, until somebody has
// put what they say where it belongs and begins the journal anew.
//
// # The file
//
// A journal is one file of Bytes, all of which is written when it is made. So a record goes where
// the disk has room for it already: no size, no table of the file system changes, and one
// fdatasync of one page is all that a small record costs. It begins on a page of its own, so no
// page that is durable is ever written again before the journal begins anew.
//
// A record stands in sectors of 512 bytes, the unit that a disk writes wholly or not at all. Each
// sector ends in the batch that the record builds on, the number of the record behind it, its own
// place in the record, the length of that, and a checksum over all of it, keyed by who the file
// belongs to. So after a crash every sector is either what was written last or what stood there
// before, and both can be read. A record of which some sectors are old was being written when the
// power went, and nobody was told that it is durable: it is the end of the journal. A sector that
// is neither was damaged since, and so is a journal in which a later record follows after one that
// is missing. The difference matters: to take damage for a crash would be to forget what was
// promised. Behind a torn record nothing is written, as the rest of it might join with the rest of
// the next one, torn elsewhere, to a record that nobody wrote: the journal begins anew.
//
// What a journal cannot see is that its last records were put back to what stood there before. Its
// owner remembers the number of the newest.
//
// # Threads
//
// A journal belongs to one goroutine.
package journal
