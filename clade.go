// Package clade is the vocabulary of the program: the nouns, their limits, the
// kinds of error and the interfaces that the faces use and the core implements.
//
// It imports the standard library only and does nothing by itself. The words are
// defined in docs/terms.md; a word that is not there is not used here.
package clade
