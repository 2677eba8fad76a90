// Command check explores the core of the protocol (the model of ../BFTRaft.tla) exhaustively.
//
// It uses one reduction that the TLA+ model does not: terms are run one after the other. Every
// act of an honest node in term t (vote, ack, adopting a lock) depends only on its own earlier
// acts, which are in terms <= t, and on signatures of terms <= t. So any run can be sorted by
// term without changing what each node does or what is ever signed ("communication-closed
// rounds"), and what is checked speaks of what is signed, and of one node's own state at a time.
// Mutations that break this order (a node acting in an old term) are left to TLC. It also means
// that of a finished term only the certificates and commits need to be kept, that of votes only
// the resulting election certificates matter, and that voting takes no step of its own.
//
// Three honest voters (0..2), one faulty (3). A position is a node of the binary tree of
// prefixes: 0 is the empty log, 2k+1 and 2k+2 are the two ways to go on from k. States that
// differ by a renaming of honest nodes, or by swapping the two values at any place of the tree,
// are explored once.
//
// With -rules catchup a node may also take blocks that are proven committed, as the code decided
// (docs/PROTOCOL.md, section 12): its lock may be left without entries by a commit of a later
// term (14), and what it acked in this very term may go, after which it acks no more in it (16).
package main
