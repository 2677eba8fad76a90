// Package report turns outcomes into what people read: a table on the terminal, JSON and CSV for
// programs, charts, and the generated part of docs/BENCHMARKS.md. Its one job is to say no more
// than was measured: medians with their spread, ratios taken round by round, and the name of
// everything that did not start or does not count.
package report
