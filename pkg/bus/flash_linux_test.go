package bus

import (
	"os"
	"path/filepath"
	"testing"
)

// What sysfs says of disks decides how often the log is synced: flash cards are spared,
// also below other layers, and so is what nothing is known of.
func TestDiskRate(t *testing.T) {
	sys := t.TempDir()
	device := func(id, place string, slaves ...string) {
		t.Helper()
		dir := filepath.Join(sys, "devices", place)
		for _, err := range []error{
			os.MkdirAll(filepath.Join(dir, "slaves"), 0o755), os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755),
			os.WriteFile(filepath.Join(dir, "dev"), []byte(id+"\n"), 0o644), os.Symlink(dir, filepath.Join(sys, "dev/block", id)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range slaves {
			if err := os.Symlink(filepath.Join(sys, "devices", s), filepath.Join(dir, "slaves", filepath.Base(s))); err != nil {
				t.Fatal(err)
			}
		}
	}
	const emmc, nvme = "platform/soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2", "pci0000:00/nvme/nvme0/nvme0n1/nvme0n1p1"
	device("179:2", emmc)
	device("259:1", nvme)
	device("8:17", "pci0000:00/usb1/1-1/host6/block/sdb/sdb1")
	device("253:0", "virtual/block/dm-0", nvme)
	device("253:1", "virtual/block/dm-1", nvme, emmc)
	device("253:2", "virtual/block/dm-2", "virtual/block/dm-2") // below itself
	for id, want := range map[string]int{
		"179:2": flashRate, "259:1": quickRate, "8:17": flashRate, "253:0": quickRate, "253:1": flashRate, "253:2": flashRate, "0:42": flashRate,
	} {
		if got := rateOf(sys, id, 8); got != want {
			t.Errorf("%s: %d syncs a second, expected %d", id, got, want)
		}
	}
	if got := diskRate("/nowhere"); got != flashRate {
		t.Errorf("a directory that is not there: %d", got)
	}
}
