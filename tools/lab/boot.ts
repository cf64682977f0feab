/** The scripts that turn a bare kernel into a lab host. Root is the outer machine's own `/`, read-only, with a memory overlay on it. */
import { hasAgent } from './plan.js'
import type { HostPlan } from './plan.js'

/** First process: puts the overlay over the outer root. Needs nothing but bash, mount and insmod. */
export const stage1 = `#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
for w in $(</proc/cmdline); do case $w in lab_*) export "$w";; esac; done
insmod /usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko
mount -t tmpfs tmpfs /mnt; mkdir -p /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
cd /mnt/root; mkdir -p old; umount /proc; pivot_root . old; exec chroot . /bin/bash $lab_run/stage2.sh
`

/** Second: file systems, network, modules, the host's own disk and its data disks; then the lab's guest process. */
export const stage2 = `#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DM_DISABLE_UDEV=1
# /tmp stays as it is, under the overlay: this checkout may lie in it.
rm -rf /etc/vsky; cp -a $lab_run/conf/$lab_name /etc/vsky
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs tmpfs /run; mkdir -p /run/lock/lvm /run/lock/iscsi /run/lvm /lib/modules
mount --bind /usr/lib/uml/modules /lib/modules
hostname $lab_name
ip link set lo up
ip addr add $lab_data/24 dev vec0; ip link set vec0 up; ip addr add $lab_control/24 dev vec1; ip link set vec1 up
mkdir -p /var/lib/vsky; mount -t ext4 /dev/ubda /var/lib/vsky
echo "InitiatorName=iqn.2026-11.io.vsky:host.$lab_name" > /etc/iscsi/initiatorname.iscsi
rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets /var/lib/iscsi; mkdir -p /etc/iscsi/nodes
modprobe configfs; mount -t configfs none /sys/kernel/config
modprobe -a dm-mod
case $lab_kind in head|both) modprobe -a iscsi_tcp;; esac
n=0; for d in b c d e f g h i j k l m; do
  n=$((n+1)); [ $n -le $lab_disks ] || break
  echo 0 $(</sys/block/ubd$d/size) linear /dev/ubd$d 0 | dmsetup create disk$n
done
head=no; case $lab_kind in head|both) head=head;; esac
daemon=; case $lab_daemon in manager) daemon="node --enable-source-maps $lab_dist/manager/main.js --config /etc/vsky/manager.toml";;
  database) daemon="bash /etc/vsky/postgres.sh $lab_control";;
  agent) daemon="nice -n -10 env UV_THREADPOOL_SIZE=64 node --enable-source-maps $lab_dist/agent/main.js --config /etc/vsky/agent.toml";; esac
node $lab_dist/tools/lab/guest.js $lab_control $head $daemon
echo "lab: the guest process ended"; poweroff -f
`

/** What `db1` runs as its service: PostgreSQL from Debian's package, its data on the host's own disk, made at the first start. */
export const postgres = `#!/bin/bash
as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); data=/var/lib/vsky/postgres
if [ ! -e $data ]; then
  rm -rf $data.new; install -d -o postgres -g postgres -m 700 $data.new
  as $bin/initdb -D $data.new -A trust --no-locale -E UTF8 && echo "hostssl all all 10.78.0.0/24 trust clientcert=verify-ca" >> $data.new/pg_hba.conf && sync && mv $data.new $data || exit 1
fi
rm -f $data/postmaster.pid; tls=/run/postgres-tls; rm -rf $tls; install -d -o postgres -m 700 $tls; install -o postgres -m 600 /etc/vsky/tls/*.pem $tls/
exec setpriv --reuid=postgres --regid=postgres --clear-groups $bin/postgres -D $data -c listen_addresses=$1 -c unix_socket_directories= \\
  -c ssl=on -c ssl_cert_file=$tls/cert.pem -c ssl_key_file=$tls/key.pem -c ssl_ca_file=$tls/ca.pem \\
  -c shared_buffers=16MB -c min_wal_size=32MB -c max_wal_size=64MB -c max_connections=40
`

export interface BootPlan {
  /** The lab's folder, in memory. */
  readonly run: string
  /** Where the scripts and the hosts' configurations are. */
  readonly boot: string
  readonly host: HostPlan
  readonly dist: string
  readonly daemon: boolean
  readonly memoryMiB: number
  readonly netns: string
  /** Images, the state disk first. */
  readonly images: readonly string[]
}

/** The command line of one host's kernel. */
export function kernelArguments({ run, boot, host, dist, daemon, memoryMiB, netns, images }: BootPlan): readonly string[] {
  return [
    'netns', 'exec', netns, 'linux.uml', `umid=${host.name}`, `uml_dir=${run}/umid/`, `mem=${memoryMiB}M`, 'rootfstype=hostfs', 'rootflags=/', 'ro',
    `init=${boot}/stage1.sh`, 'con=null', 'con0=null,fd:1', 'quiet',
    // Without depth and GRO throughput falls several times; with a random MAC peers keep a stale ARP entry after a reboot.
    `vec0:transport=tap,ifname=${host.dataLink},depth=128,gro=1,mac=${host.mac.data}`,
    `vec1:transport=tap,ifname=${host.controlLink},depth=64,gro=1,mac=${host.mac.control}`,
    ...images.map((image, index) => `ubd${index}=${image}`),
    `lab_name=${host.name}`, `lab_kind=${host.kind}`, `lab_run=${boot}`, `lab_dist=${dist}`, `lab_data=${host.dataAddress}`, `lab_control=${host.controlAddress}`,
    `lab_disks=${Math.max(0, images.length - 1)}`, `lab_daemon=${daemon ? (hasAgent(host) ? 'agent' : host.kind) : 'none'}`,
  ]
}
