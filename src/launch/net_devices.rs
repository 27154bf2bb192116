//! The runtime's side of moving a network device into a container (rtnetlink(7)).
//!
//! The kernel takes a device down and its addresses away when it moves it, so both are
//! restored inside (runtime-spec, "Network Devices").

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use nix::unistd::Pid;

use crate::sys::Result;

/// Numbers of linux/if_link.h and linux/if_addr.h that libc lacks.
const IFLA_NEW_IFINDEX: u16 = 49;
const IFA_FLAGS: u16 = 8;
const PERMANENT: u32 = 0x80;
/// IFA_F_NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE: what a user chose, as opposed to
/// what the kernel found out.
const CHOSEN: u32 = 0x02 | 0x10 | 0x100 | 0x200;

/// An address as the host had it.
struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// IFA_ADDRESS, IFA_LOCAL and IFA_BROADCAST with their bytes.
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Moves a device to the network namespace of process `pid`, where it is up and has the
/// permanent global addresses that it had.
///
/// # Errors
/// `ENODEV` when there is no such device, `EEXIST` when the name is taken inside, `EINVAL` for
/// a device that can't leave its namespace.
pub(super) fn take(pid: Pid, name: &str, inside: &str) -> Result<()> {
    let io = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(io)?;
    let mut host = Netlink::open()?;
    let mut container = Netlink::open_in(&namespace)?;

    let (index, was_up) = host.find(name)?;
    let addresses = host.addresses(index)?;
    let there = container.links()?;
    // The kernel would move the device, and only then fail to give it the name.
    if there.iter().any(|(_, other)| other == inside) {
        return Err(Errno::EEXIST);
    }
    host.set_up(index, false)?;
    // With %d the name isn't known afterwards, so the index is chosen here.
    let free = || there.iter().map(|(index, _)| index).max().map_or(1, |highest| highest + 1);
    let is_taken = there.iter().any(|(other, _)| *other == index);
    let new_index = if is_taken { free() } else { index };
    let mut link = Message::of_link(libc::RTM_NEWLINK, index, 0, 0);
    link.attribute(libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    link.attribute(libc::IFLA_IFNAME, &[inside.as_bytes(), b"\0"].concat());
    link.attribute(IFLA_NEW_IFINDEX, &new_index.to_ne_bytes());
    if let Err(errno) = host.tell(link) {
        // It stays the host's, and as it was; what it is refused for is what counts.
        let _ = host.set_up(index, was_up);
        for address in &addresses {
            let _ = host.add(index, address);
        }
        return Err(errno);
    }

    for address in &addresses {
        container.add(new_index, address)?;
    }
    container.set_up(new_index, true)
}

/// A socket to the kernel's network configuration, in the namespace it was opened in.
struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    fn open() -> Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// The runtime itself never changes its namespaces; a thread that ends with it does.
    fn open_in(namespace: &File) -> Result<Self> {
        let enter = || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Netlink::open()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap_or(Err(Errno::EAGAIN)))
    }

    /// The index of a device, and whether it is up.
    fn find(&mut self, name: &str) -> Result<(i32, bool)> {
        let mut message = Message::of_link(libc::RTM_GETLINK, 0, 0, 0);
        message.attribute(libc::IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
        let replies = self.ask(message, 0)?;
        let found = replies.iter().find_map(|(_, body)| integer(body, 4).zip(integer(body, 8)));
        let (index, flags) = found.ok_or(Errno::ENODEV)?;
        Ok((index, flags & libc::IFF_UP != 0))
    }

    /// Index and name of every device.
    fn links(&mut self) -> Result<Vec<(i32, String)>> {
        let message = Message::of_link(libc::RTM_GETLINK, 0, 0, 0);
        let replies = self.ask(message, libc::NLM_F_DUMP)?;
        let link = |body: &[u8]| {
            let mut rest = body.get(16..)?;
            while let Some((kind, bytes, next)) = attribute(rest) {
                rest = next;
                if kind == libc::IFLA_IFNAME {
                    let name = String::from_utf8_lossy(bytes.strip_suffix(b"\0")?).into_owned();
                    return Some((integer(body, 4)?, name));
                }
            }
            None
        };
        Ok(replies.iter().filter_map(|(_, body)| link(body)).collect())
    }

    /// Permanent ones of global scope; others have a meaning on the host alone.
    fn addresses(&mut self, index: i32) -> Result<Vec<Address>> {
        let replies = self.ask(Message::new(libc::RTM_GETADDR, &[0; 8]), libc::NLM_F_DUMP)?;
        let addresses = replies.iter().filter_map(|(_, body)| Address::read(body, index));
        Ok(addresses.collect())
    }

    fn add(&mut self, index: i32, address: &Address) -> Result<()> {
        let [a, b, c, d] = index.to_ne_bytes();
        let header = [address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE, a, b, c, d];
        let mut message = Message::new(libc::RTM_NEWADDR, &header);
        for (kind, bytes) in &address.attributes {
            message.attribute(*kind, bytes);
        }
        message.attribute(IFA_FLAGS, &(address.flags & CHOSEN).to_ne_bytes());
        message.flags |= (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
        self.tell(message)
    }

    fn set_up(&mut self, index: i32, up: bool) -> Result<()> {
        let flag = libc::IFF_UP as u32;
        self.tell(Message::of_link(libc::RTM_NEWLINK, index, if up { flag } else { 0 }, flag))
    }

    fn tell(&mut self, message: Message) -> Result<()> {
        self.ask(message, 0).map(drop)
    }

    /// Sends a request; gives the types and bodies of the replies to it.
    fn ask(&mut self, message: Message, flags: i32) -> Result<Vec<(u16, Vec<u8>)>> {
        self.sequence += 1;
        send(self.socket.as_raw_fd(), &message.finish(self.sequence, flags), MsgFlags::empty())?;
        let mut replies = Vec::new();
        // The kernel fills a dump into at most this many bytes at a time.
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or(&[]);
            while let Some((kind, sequence, body, next)) = split(rest) {
                rest = next;
                if sequence != self.sequence {
                    continue;
                }
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(replies),
                    libc::NLMSG_ERROR => match integer(body, 0) {
                        Some(0) => return Ok(replies),
                        errno => return Err(Errno::from_raw(-errno.unwrap_or(-libc::EIO))),
                    },
                    _ => replies.push((kind, body.to_vec())),
                }
            }
        }
    }
}

/// A request (netlink(7)): its header comes last, when its length is known.
struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    fn new(kind: u16, header: &[u8]) -> Self {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        Message { kind, flags, body: header.to_vec() }
    }

    /// With an ifinfomsg: family and type, index, flags, and which flags to change.
    fn of_link(kind: u16, index: i32, flags: u32, change: u32) -> Self {
        let header = [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()];
        Message::new(kind, &header.concat())
    }

    /// A length, a type and bytes, padded to four.
    fn attribute(&mut self, kind: u16, bytes: &[u8]) {
        self.body.extend_from_slice(&(bytes.len() as u16 + 4).to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(bytes);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    fn finish(self, sequence: u32, flags: i32) -> Vec<u8> {
        let mut bytes = (self.body.len() as u32 + 16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&(self.flags | flags as u16).to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Address {
    /// An ifaddrmsg: family, prefix length, flags, scope, index; then attributes.
    fn read(body: &[u8], index: i32) -> Option<Address> {
        let (&[family, prefix, flags, scope], rest) = body.split_first_chunk::<4>()?;
        let (own, mut rest) = rest.split_first_chunk::<4>()?;
        let mut address =
            Address { family, prefix, flags: u32::from(flags), attributes: Vec::new() };
        while let Some((kind, bytes, next)) = attribute(rest) {
            rest = next;
            match kind {
                IFA_FLAGS => address.flags = integer(bytes, 0)? as u32,
                libc::IFA_ADDRESS | libc::IFA_LOCAL | libc::IFA_BROADCAST => {
                    address.attributes.push((kind, bytes.to_vec()));
                }
                _ => {}
            }
        }
        let is_meant = i32::from_ne_bytes(*own) == index
            && scope == libc::RT_SCOPE_UNIVERSE
            && address.flags & PERMANENT != 0;
        is_meant.then_some(address)
    }
}

/// The first message of a datagram: type, sequence number, body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = integer(bytes, 0)? as usize;
    let body = bytes.get(16..length)?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, integer(bytes, 8)? as u32, body, rest))
}

/// The first attribute: type, bytes, and what follows.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, bytes.get(4..length)?, rest))
}

fn integer(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_kernel_reads_them() {
        let mut message = Message::of_link(libc::RTM_NEWLINK, 7, 1, 1);
        message.attribute(libc::IFLA_IFNAME, b"net0\0");
        let bytes = message.finish(3, 0);
        // Header 16, ifinfomsg 16, attribute 4 + 5, padding 3.
        assert_eq!(bytes.len(), 44);
        let (kind, sequence, body, rest) = split(&bytes).unwrap();
        assert_eq!((kind, sequence, rest), (libc::RTM_NEWLINK, 3, &[][..]));
        assert_eq!(integer(body, 4), Some(7));
        let (kind, name, rest) = attribute(&body[16..]).unwrap();
        assert_eq!((kind, name, rest), (libc::IFLA_IFNAME, &b"net0\0"[..], &[][..]));
    }

    #[test]
    fn torn_messages_are_no_messages() {
        let bytes = Message::new(libc::RTM_GETADDR, &[0; 8]).finish(1, 0);
        for length in 0..bytes.len() {
            assert!(split(&bytes[..length]).is_none(), "{length}");
        }
        assert!(split(&[0; 16]).is_none(), "a length of 0 would never end");
        assert!(attribute(&[0; 8]).is_none());
    }

    #[test]
    fn permanent_addresses_of_global_scope_are_kept() {
        let address = |index: i32, flags: u32, scope: u8| {
            let [a, b, c, d] = index.to_ne_bytes();
            let header = [libc::AF_INET as u8, 24, 0, scope, a, b, c, d];
            let mut message = Message::new(libc::RTM_NEWADDR, &header);
            message.attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]);
            message.attribute(IFA_FLAGS, &flags.to_ne_bytes());
            Address::read(&message.body, 7)
        };
        let kept = address(7, PERMANENT | 0x200, 0).unwrap();
        assert_eq!((kept.prefix, kept.flags & CHOSEN), (24, 0x200));
        assert_eq!(kept.attributes, [(libc::IFA_LOCAL, vec![10, 0, 0, 1])]);
        assert!(address(8, PERMANENT, 0).is_none(), "of another device");
        assert!(address(7, 0, 0).is_none(), "with an end");
        assert!(address(7, PERMANENT, libc::RT_SCOPE_LINK).is_none(), "of the link alone");
    }
}
