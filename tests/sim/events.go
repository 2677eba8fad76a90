package sim

type eventKind uint8

const (
	eventTick eventKind = iota
	eventFrame
	eventToClient
	eventFromClient
	eventClientTick
	eventRogueTick
	eventFault
)

// event is something that happens at a moment of virtual time. Those of one moment happen in the
// order in which they were planned.
type event struct {
	at    int
	order uint64
	kind  eventKind
	node  int // index of the node, or of the client for client events
	from  int // index of the sender
	boot  int // ticks belong to a boot
	sent  int // when the frame left
	hash  uint64
	frame []byte
	do    func()
}

// eventHeap is a binary heap of events; the first to happen is at its top.
type eventHeap []event

func (h eventHeap) before(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.before(i, parent) {
			break
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (h *eventHeap) pop() event {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s[last] = event{}
	s = s[:last]
	*h = s
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && s.before(child+1, child) {
			child++
		}
		if !s.before(child, i) {
			break
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	return top
}

// digest is a quick hash of a frame: it decides the frame's fate, and is part of the trace.
func digest(frame []byte) uint64 {
	h := uint64(len(frame)) + 0x9e3779b97f4a7c15
	for len(frame) >= 8 {
		w := uint64(frame[0]) | uint64(frame[1])<<8 | uint64(frame[2])<<16 | uint64(frame[3])<<24 |
			uint64(frame[4])<<32 | uint64(frame[5])<<40 | uint64(frame[6])<<48 | uint64(frame[7])<<56
		h = (h ^ w) * 0x9fb21c651e98df25
		h ^= h >> 32
		frame = frame[8:]
	}
	for _, b := range frame {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return mix(h)
}
