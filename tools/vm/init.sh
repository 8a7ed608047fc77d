#!/bin/busybox sh
# The guest's process 1: mounts, modules, names for disks, network; then the agent, and the end when that ends.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /var/log /usr/bin /usr/sbin /sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/disk
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /dev/shm
ln -sf /run /var/run
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root

# Whatever becomes of the host's side, this guest ends.
(sleep "$(cat /vm/limit)"; echo "vm: time is up"; poweroff -f) &

while read -r module; do insmod "/vm/modules/$module.ko" || echo "vm: no $module"; done </vm/modules.list
for disk in /sys/block/vd*; do
  [ -e "$disk/serial" ] && ln -s "/dev/${disk##*/}" "/dev/disk/$(cat "$disk/serial")"
done
ip link set lo up
[ -e /sys/class/net/eth0 ] && ip addr add "$(cat /vm/address)/24" dev eth0 && ip link set eth0 up

node /vm/agent.mjs </dev/null
echo "vm: the agent has ended"
poweroff -f
