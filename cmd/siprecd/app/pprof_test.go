package app

import "testing"

func TestProfilesStayOnThisMachine(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:6060": true, "127.3.2.1:6060": true, "[::1]:6060": true, "[::ffff:127.0.0.1]:6060": true,
		"0.0.0.0:6060": false, ":6060": false, "192.0.2.7:6060": false, "[::]:6060": false, "[2001:db8::1]:6060": false,
		"localhost:6060": false, "127.0.0.1": false, "": false,
	} {
		if err := Loopback(addr); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
}
