// Package p2p carries opaque frames between the named nodes of one cluster, and between nodes and
// their clients. Its one job is to know who is at the other end and to lose frames rather than
// wait; it knows nothing of what the frames say.
//
// # Contract
//
// Who may connect is a list of Ed25519 keys. The key is the libp2p identity, proven in the TLS 1.3
// or Noise handshake; everybody else is refused by the connection gater before a stream exists.
// Frames of one class from one node arrive in the order in which they were sent, at most once, for
// as long as one link lasts. When a link ends, what was queued for it is lost: the protocol above
// sends again, and NodeUp is its cue. Send never blocks: a full queue drops the newest frame and
// counts it. Close does not flush.
//
// A peer cannot make this package hold more memory than its limits allow: the length of a frame is
// judged before anything is allocated for it, and memory then grows with the bytes that arrived,
// not with those that were announced.
//
// # Links
//
// Two nodes share one connection, the link. The node with the lower identity dials at once, the
// other only when nobody has come for a while. If both dialled at the same time, the connection
// that the lower one dialled stays; otherwise a new connection replaces the old, because who dials
// again has lost the old one. Each direction of each class (consensus, bulk, client) is one
// long-lived stream, opened by its sender; a fresh stream replaces the one before. Any error on
// any stream ends the whole link, and redialling starts after 50 ms, doubling with jitter to at
// most a second. Nothing of libp2p's own dial back-off, address book or peer discovery is used:
// the swarm is built without a host above it, hence no identify, ping, relay, NAT mapping, DHT or
// mDNS.
//
// # Deadlines
//
// Every read and every write has one. A link from which nothing at all arrived for ReadTimeout is
// closed by the reader. So that an idle link is not, the sender of the primary class (consensus
// between nodes, client otherwise) sends an empty frame after KeepAlive without traffic. Bytes of
// any class keep the link alive, so a long transfer on a slow line does not end it. A frame that
// has begun must go on by 64 KiB in each FrameTimeout, a write likewise in each WriteTimeout.
// Whether a peer that keeps its link alive is any use is for the heartbeats of the protocol to
// say; Drop ends a link at their word.
//
// # Threads
//
// All methods of Host may be called from any goroutine. Handler is called from the goroutine that
// reads the stream (one per peer and class), so it must be quick: what it does not read, the
// sender's queue will drop. Its NodeUp and NodeDown alternate, per node, beginning with NodeUp.
package p2p
