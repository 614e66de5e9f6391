//! How much memory may still be used before the kernel reclaims in distress or kills.
//!
//! The kernel promises memory that it does not have: `fallocate` of 200 GiB on a machine of 24 is not refused,
//! the out-of-memory killer comes later. So whoever commits shared memory looks here first. The figure is a
//! snapshot; what others take in between is not reserved against.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What is left, and who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// What sets the limit: `the machine`, or a control group's directory.
    pub set_by: String,
}

/// The limits above this process: the machine, and each memory control group up to the root (v1 and v2).
#[derive(Clone, Debug)]
pub struct Headroom {
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

impl Headroom {
    /// Finds the control groups that the calling process is in now.
    #[must_use]
    pub fn of_self() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::from_text(&membership, mounts())
    }

    fn from_text(membership: &str, mounts: &[Mount]) -> Self {
        let mut groups = Vec::new();
        for mount in mounts {
            let path = membership.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':');
                let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
                let ours = match mount.version {
                    Version::Two => number == "0" && controllers.is_empty(),
                    Version::One => controllers.split(',').any(|name| name == "memory"),
                };
                ours.then_some(path)
            });
            let Some(path) = path else { continue };
            // A path outside the mount's root (another cgroup namespace): only the root can be seen.
            let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
            let mut directory = mount.point.join(below);
            loop {
                groups.push(Group { directory: directory.clone(), version: mount.version });
                if directory == mount.point || !directory.pop() {
                    break;
                }
            }
        }
        Self { groups }
    }

    /// What may still be used; exact only below `wanted` bytes. `None` where nothing can be read.
    #[must_use]
    pub fn room(&self, wanted: u64) -> Option<Room> {
        let machine = machine().map(|bytes| Room { bytes, set_by: "the machine".to_owned() });
        let groups = self.groups.iter().filter_map(|group| {
            let bytes = group.room(wanted)?;
            Some(Room { bytes, set_by: group.directory.display().to_string() })
        });
        machine.into_iter().chain(groups).min_by_key(|room| room.bytes)
    }
}

impl Group {
    fn room(&self, wanted: u64) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let (limit, used) = match self.version {
            // "max" is no number, and no limit. Above `high` the kernel slows its members down to a standstill,
            // as shared memory without swap cannot be reclaimed.
            Version::Two => (
                [number("memory.max"), number("memory.high")].into_iter().flatten().min()?,
                number("memory.current")?,
            ),
            Version::One => (number("memory.limit_in_bytes")?, number("memory.usage_in_bytes")?),
        };
        let left = limit.saturating_sub(used);
        if left >= wanted {
            return Some(left);
        }
        // The file cache counts as used but gives way.
        let statistics = read("memory.stat").unwrap_or_default();
        let cache = match self.version {
            Version::Two => ["inactive_file", "active_file"],
            Version::One => ["total_inactive_file", "total_active_file"],
        };
        let cached: u64 = statistics
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| cache.contains(name))
            .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
            .sum();
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    }
}

/// `MemAvailable`; without /proc, what is not used for anything.
fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    mem_available(&text).or_else(|| {
        // SAFETY: all zero is a valid `sysinfo`.
        let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is writable.
        let done = unsafe { libc::sysinfo(&mut info) };
        let unit = u64::from(info.mem_unit);
        (done == 0).then(|| (info.freeram as u64 + info.bufferram as u64) * unit)
    })
}

fn mem_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Where a hierarchy that limits memory is mounted, and which directory of it is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mount {
    root: PathBuf,
    point: PathBuf,
    version: Version,
}

fn mounts() -> &'static [Mount] {
    static MOUNTS: OnceLock<Vec<Mount>> = OnceLock::new();
    MOUNTS.get_or_init(|| {
        parse_mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    })
}

/// See proc_pid_mountinfo(5): `id parent device root point options [tags] - type source options`.
fn parse_mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        let (kind, _source, options) = (back.next()?, back.next()?, back.next()?);
        let version = match kind {
            "cgroup2" => Version::Two,
            "cgroup" if options.split(',').any(|option| option == "memory") => Version::One,
            _ => return None,
        };
        let mut front = front.split(' ').skip(3);
        let (root, point) = (unescape(front.next()?), unescape(front.next()?));
        Some(Mount { root, point, version })
    };
    text.lines().filter_map(parse).collect()
}

/// Blanks and backslashes in paths are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match octal {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 1 0:20 / /proc rw - proc proc rw
30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
41 25 0:33 /docker/abc /sys/fs/cg\\040one/memory rw - cgroup cgroup rw,memory
42 25 0:34 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
";

    #[test]
    fn mounts_of_both_versions_are_found_and_unescaped() {
        let mounts = parse_mounts(MOUNTINFO);
        let mount = |root: &str, point: &str, version| Mount {
            root: root.into(),
            point: point.into(),
            version,
        };
        assert_eq!(
            mounts,
            [
                mount("/", "/sys/fs/cgroup", Version::Two),
                mount("/docker/abc", "/sys/fs/cg one/memory", Version::One),
            ]
        );
    }

    #[test]
    fn every_group_up_to_the_mount_is_asked() {
        let membership = "5:memory:/docker/abc/x\n4:cpu:/y\n0::/a.slice/b.service\n";
        let headroom = Headroom::from_text(membership, &parse_mounts(MOUNTINFO));
        let directories: Vec<_> =
            headroom.groups.iter().map(|group| group.directory.to_str().unwrap()).collect();
        assert_eq!(
            directories,
            [
                "/sys/fs/cgroup/a.slice/b.service",
                "/sys/fs/cgroup/a.slice",
                "/sys/fs/cgroup",
                "/sys/fs/cg one/memory/x",
                "/sys/fs/cg one/memory",
            ]
        );
    }

    fn group(name: &str, version: Version, files: &[(&str, &str)]) -> Group {
        let directory =
            std::env::temp_dir().join(format!("offspring-headroom-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
        Group { directory, version }
    }

    #[test]
    fn file_cache_counts_as_free_and_the_lower_limit_rules() {
        let files = [
            ("memory.max", "1000\n"),
            ("memory.high", "900\n"),
            ("memory.current", "800\n"),
            ("memory.stat", "anon 100\ninactive_file 300\nactive_file 50\nshmem 7\n"),
        ];
        let group = group("two", Version::Two, &files);
        assert_eq!(group.room(1), Some(100), "no need to look at the cache");
        assert_eq!(group.room(200), Some(450));
        fs::write(group.directory.join("memory.high"), "max\n").unwrap();
        assert_eq!(group.room(400), Some(550));
        fs::write(group.directory.join("memory.max"), "max\n").unwrap();
        assert_eq!(group.room(400), None, "no limit");
        fs::remove_dir_all(group.directory).unwrap();
    }

    #[test]
    fn first_version_groups_are_understood() {
        let files = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "1100\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 50\n"),
        ];
        let group = group("one", Version::One, &files);
        assert_eq!(group.room(1), Some(250));
        fs::remove_dir_all(group.directory).unwrap();
    }

    #[test]
    fn this_machine_says_something() {
        let room = Headroom::of_self().room(u64::MAX).unwrap();
        assert!(room.bytes > 0, "{room:?}");
        assert_eq!(mem_available("MemTotal: 1 kB\nMemAvailable:   12 kB\n"), Some(12288));
    }
}
