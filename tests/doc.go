// Package tests holds the checks that concern the whole module: who may import
// whom (layering), what a pure package may use (purity), and how the code reads
// (tidy). Each of its rules is a function from parsed files to complaints, and is
// shown to fail on a bad file made up for it. The packages below this one test the
// system from outside. Nothing that is shipped imports any of them.
//
// The package has no state to share between goroutines.
package tests
