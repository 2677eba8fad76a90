package p2p

import (
	"fmt"
	"testing"

	"tangaroa/crypto"
)

// echo answers what it gets, or counts it.
type echo struct {
	*recorder
	back func(frame []byte)
	came chan int
}

func (e *echo) FromNode(_ crypto.NodeID, _ Class, frame []byte) {
	if e.back != nil {
		e.back(frame)
		return
	}
	e.came <- len(frame)
}

// echoPair is two nodes, the second of which answers if it is told to.
func echoPair(b *testing.B, transport, security string, back bool) (from *party, came chan int) {
	b.Helper()
	var nodes [2]*party
	came = make(chan int, 1<<16)
	for i := range nodes {
		cfg := testConfig(i + 1)
		cfg.Transport, cfg.Security = transport, security
		e := &echo{recorder: newRecorder(), came: came}
		if back && i == 1 {
			e.back = func(frame []byte) { nodes[1].Send(1, Consensus, frame) }
		}
		nodes[i] = startWith(b, cfg, e.recorder, e)
	}
	introduce(b, nodes[:]...)
	return nodes[0], came
}

// carriers are what we can choose from.
var carriers = []struct{ transport, security string }{
	{TransportTCP, SecurityTLS}, {TransportTCP, SecurityNoise}, {TransportQUIC, SecurityTLS},
}

// BenchmarkPingPong measures the round trip of one frame between two nodes.
func BenchmarkPingPong(b *testing.B) {
	for _, c := range carriers {
		for _, size := range []int{256, 16 << 10} {
			b.Run(fmt.Sprintf("%s-%s/%d", c.transport, c.security, size), func(b *testing.B) {
				from, came := echoPair(b, c.transport, c.security, true)
				frame := make([]byte, size)
				b.ReportAllocs()
				for b.Loop() {
					if !from.Send(2, Consensus, frame) {
						b.Fatal("frame was dropped")
					}
					<-came
				}
			})
		}
	}
}

// BenchmarkThroughput measures frames sent one way as fast as a bounded window allows.
func BenchmarkThroughput(b *testing.B) {
	const windowBytes, windowFrames = 16 << 20, 4096
	for _, c := range carriers {
		for _, size := range []int{256, 4 << 10, 256 << 10} {
			b.Run(fmt.Sprintf("%s-%s/%d", c.transport, c.security, size), func(b *testing.B) {
				from, came := echoPair(b, c.transport, c.security, false)
				frame := make([]byte, size)
				window := min(windowFrames, windowBytes/size)
				outstanding := 0
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if outstanding == window {
						<-came
						outstanding--
					}
					if !from.Send(2, Consensus, frame) {
						b.Fatal("frame was dropped")
					}
					outstanding++
				}
				for range outstanding {
					<-came
				}
			})
		}
	}
}

// BenchmarkConnect measures a link from the first packet to NodeUp at both ends.
func BenchmarkConnect(b *testing.B) {
	for _, c := range carriers {
		b.Run(c.transport+"-"+c.security, func(b *testing.B) {
			x, y := twoNodes(b, func(cfg *Config) {
				cfg.Transport, cfg.Security = c.transport, c.security
				cfg.RedialMin, cfg.RedialMax = 1, 1
			})
			for b.Loop() {
				x.Drop(2)
				<-x.downs
				<-x.ups
				<-y.downs
				<-y.ups
			}
		})
	}
}
