package clade

// An Event tells how far a long operation has come. Total is zero while the end
// is not known. Note is one short line about what is being done right now.
type Event struct {
	Step  string `json:"step"`           // what is done: "install packages", "boot web-1"
	Note  string `json:"note,omitempty"` // the detail of the moment
	Done  int64  `json:"done,omitempty"` // bytes or pieces, see Unit
	Total int64  `json:"total,omitempty"`
	Unit  string `json:"unit,omitempty"` // "B" for bytes, else the name of the pieces
	End   bool   `json:"end,omitempty"`  // the step is complete
}

// Progress receives events. It must return at once, and may be called from
// several goroutines. A nil Progress is silent: call Tell, not the func itself.
type Progress func(Event)

// Tell passes e on if somebody listens.
func (p Progress) Tell(e Event) {
	if p != nil {
		p(e)
	}
}
