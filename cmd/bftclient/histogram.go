package main

import (
	"math/bits"
	"time"
)

// subBuckets is how many buckets there are for each doubling: what is read off is at most one part
// in so many too high.
const subBuckets = 64

// histogram counts durations in microseconds, in a few kilobytes however many there are.
type histogram struct {
	counts [64 * subBuckets]uint64
	total  uint64
	most   time.Duration
}

// bucketOf returns the bucket of a value: exact below twice subBuckets, then ever wider.
func bucketOf(us uint64) int {
	shift := max(0, bits.Len64(us)-bits.Len64(2*subBuckets-1))
	return shift*subBuckets + int(us>>shift)
}

// topOf returns the greatest value in a bucket.
func topOf(bucket int) uint64 {
	if bucket < 2*subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return (uint64(bucket-shift*subBuckets)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(0, d.Microseconds())))]++
	h.total++
	h.most = max(h.most, d)
}

// quantile returns, in milliseconds, what the given part of the values does not exceed.
func (h *histogram) quantile(part float64) float64 {
	if h.total == 0 {
		return 0
	}
	most := float64(h.most.Microseconds()) / 1000
	rank := uint64(part * float64(h.total))
	var seen uint64
	for bucket, n := range h.counts {
		if seen += n; seen > rank {
			return min(float64(topOf(bucket))/1000, most)
		}
	}
	return most
}
