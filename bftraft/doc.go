// Package bftraft is the protocol: a Raft that stays safe and live while up to f of 3f+1 voters
// lie. Rules are named as in docs/PROTOCOL.md (B1, N4, E2, A5 and so on), and the code says which
// one it carries out.
//
// Contract: the package only computes. Bytes from others pass one gate, Verifier, which any
// number of goroutines may use at once. What it lets through goes to a Core by Step; time goes in
// by Tick; what must be made durable, sent and applied comes out by Ready, and the order of
// Ready's fields is the order of the work. Whatever a peer can influence ends in a Drop that says
// why it was ignored; a panic depends on this node's own state only.
//
// Thread rule: one goroutine owns a Core. A Verifier is immutable and may be shared.
package bftraft
