package appliance

import (
	"debug/elf"
	"errors"

	"github.com/clade-vm/clade"
)

// static refuses a binary that cannot be /init: one that needs an interpreter
// from a file system would end in a kernel panic that explains nothing. It returns
// the bytes that a kernel loads of the others: what follows them is for debuggers,
// and the VM would copy it at each boot.
func static(binary string) (loaded int64, err error) {
	refuse := func(why error) (int64, error) {
		return 0, &clade.Error{Op: "use", On: binary + " as the appliance's init", Kind: clade.Invalid, Err: why,
			Hint: "build clade with CGO_ENABLED=0"}
	}
	f, err := elf.Open(binary)
	if err != nil {
		return refuse(err)
	}
	defer f.Close()
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			return refuse(errors.New("it is dynamically linked"))
		}
		if part.Type == elf.PT_LOAD {
			loaded = max(loaded, int64(part.Off+part.Filesz))
		}
	}
	return loaded, nil
}
