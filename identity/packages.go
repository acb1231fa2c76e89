package identity

func packageMarks() []Mark {
	return []Mark{
		{
			Name: "apt-cache", Family: "packages", Kind: Residue, Default: true,
			Why:         "packages that are installed already make every full clone larger",
			Source:      "man 8 apt-get (clean)",
			Paths:       []string{"var/cache/apt/archives/*.deb", "var/cache/apt/archives/partial/*", "var/cache/apt/*.bin"},
			Regenerates: "apt",
			way:         remove{},
		},
		{
			// Off: the lists are stale in a clone but do no harm, and without them the
			// first "apt-get install" of each clone fails until "apt-get update".
			Name: "apt-lists", Family: "packages", Kind: Residue, Default: false,
			Why:         "lists of packages grow old in a template, and make every full clone larger",
			Source:      "man 8 apt-get (update)",
			Paths:       []string{"var/lib/apt/lists/*_*", "var/lib/apt/lists/partial/*", "var/lib/apt/lists/auxfiles/*"},
			Regenerates: "apt-get update",
			way:         remove{},
		},
	}
}
