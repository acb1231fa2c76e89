package identitytest

func packagePlants() map[string]Plant {
	return map[string]Plant{
		"apt-cache": {
			Files: map[string]string{"var/cache/apt/archives/x_1.deb": Planted, "var/cache/apt/pkgcache.bin": Planted, "var/cache/apt/archives/lock": ""},
			After: map[string]string{"var/cache/apt/archives/x_1.deb": None, "var/cache/apt/archives/lock": ""},
		},
		"apt-lists": {map[string]string{"var/lib/apt/lists/x_dists_y_InRelease": Planted}, map[string]string{"var/lib/apt/lists/x_dists_y_InRelease": None}},
	}
}
