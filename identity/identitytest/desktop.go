package identitytest

func desktopPlants() map[string]Plant {
	return map[string]Plant{
		"rustdesk-key":    gone("home/ann/.config/rustdesk/RustDesk.toml"),
		"session-cookies": gone("root/.Xauthority", "home/ann/.ICEauthority", "root/.config/pulse/cookie", "home/ann/.pulse-cookie", "root/.esd_auth"),
		"desktop-traces": gone(
			"home/ann/.local/share/recently-used.xbel", "root/.recently-used", "home/ann/.local/share/RecentDocuments/x", "root/.cache/thumbnails/x",
			"home/ann/.thumbnails/x", "root/.local/share/gvfs-metadata/x", "home/ann/.dbus/session-bus/x", "root/.xsession-errors",
			"home/ann/.local/share/xorg/x",
		),
		"trash": gone("root/.local/share/Trash/files/x", "home/ann/.local/share/Trash/info/x", "root/.local/share/Trash/expunged/x"),
		"browser-profiles": gone(
			"home/ann/.mozilla/firefox/x", "root/snap/firefox/common/.mozilla/firefox/x", "home/ann/.config/google-chrome/x", "root/.config/chromium/x",
			"home/ann/.config/microsoft-edge/x", "root/.config/BraveSoftware/x", "home/ann/.thunderbird/x",
		),
		"user-caches":        gone("root/.cache/x"),
		"bluetooth-pairings": gone("var/lib/bluetooth/00:11:22:33:44:55/66:77:88:99:AA:BB/info"),
		"xrdp-keys":          gone("etc/xrdp/rsakeys.ini"),
		"anydesk-id":         gone("etc/anydesk/service.conf", "home/ann/.anydesk/service.conf"),
	}
}
