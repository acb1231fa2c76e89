//go:build !integration

package host_test

// otherwise is what else the test binary is run as by the integration tests.
func otherwise(string, []string) int { return 2 }
