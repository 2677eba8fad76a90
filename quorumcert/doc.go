// Package quorumcert is the arithmetic of trust: how many signers make a quorum, what exactly they
// sign, and how their signatures become certificates that convince somebody who was not there.
//
// Contract: a certificate counts signers, never signatures. Its signers are a bit set and its
// signatures stand in the order of the bits, so a signer that appears twice cannot be written
// down. Every certificate has one Verify, which takes the configuration it is judged by; the
// caller finds that configuration with Configurations.For (N5). What Verify accepts
// is the same at every node, because it depends on the bytes and the configuration alone.
//
// Thread rule: values are immutable once built, except Collector, which has one owner.
package quorumcert
