package identitytest

func randomPlants() map[string]Plant {
	return map[string]Plant{
		"random-seed":        {map[string]string{"var/lib/systemd/random-seed": Planted, "var/lib/urandom/random-seed": Planted}, map[string]string{"var/lib/systemd/random-seed": None}},
		"loader-random-seed": {map[string]string{"boot/efi/loader/random-seed": Planted}, map[string]string{"boot/efi/loader/random-seed": None}},
		"credential-secret":  {map[string]string{"var/lib/systemd/credential.secret": Planted}, map[string]string{"var/lib/systemd/credential.secret": None}},
	}
}
