package identitytest

import "maps"

// gone is the plant of files that are removed.
func gone(names ...string) Plant { return of(Planted, None, names) }

// emptied is the plant of files that stay, without their content.
func emptied(names ...string) Plant { return of(Planted, "", names) }

// keys is the plant of private keys that are removed.
func keys(names ...string) Plant {
	return of("-----BEGIN PRIVATE KEY-----\nPLANTED\n-----END PRIVATE KEY-----\n", None, names)
}

// edited is the plant of one file that is changed.
func edited(name, before, after string) Plant {
	return of(before, after, []string{name})
}

func of(before, after string, names []string) Plant {
	p := Plant{Files: map[string]string{}, After: map[string]string{}}
	for _, name := range names {
		p.Files[name], p.After[name] = before, after
	}
	return p
}

// and returns both plants as one.
func (p Plant) and(more ...Plant) Plant {
	for _, m := range more {
		maps.Copy(p.Files, m.Files)
		maps.Copy(p.After, m.After)
	}
	return p
}

// beside returns p with a file that stays as it is.
func (p Plant) beside(name, what string) Plant {
	p.Files[name] = what
	if what == "kept" {
		p.After[name] = what
	}
	return p
}
