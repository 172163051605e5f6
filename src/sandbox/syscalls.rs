//! The one system call that a child behind walls may not make: setting another process's limits. Landlock keeps signals
//! in and not `prlimit`, and a limit is as good as a signal: with a limit on files or on processor time of nothing,
//! the orchestrator or a warden of the same user ends itself.
//!
//! In: nothing. Out: a filter on this process and everything it starts. It decides by numbers, so a process that names
//! itself by its own number is refused as well; shells and libraries say 0 for themselves. Other calls that reach
//! across processes (priorities, processors) only slow them down, and threads of honest programs need them.
//!
//! The filter is written by hand because the ways to have one made end every program of the machine's other word size.

use seccompiler::{BpfProgram, apply_filter, sock_filter};

/// A kernel that does not take the filter.
pub(super) type Unfiltered = seccompiler::Error;

/// How the machine calls `prlimit64`: for its own programs and for those of 32 bits. Kinds of machines as in
/// linux/audit.h, numbers as in the kernel's tables.
struct Numbers {
    own: u32,
    prlimit: u32,
    narrow: u32,
    narrow_prlimit: u32,
}

#[cfg(target_arch = "x86_64")]
const NUMBERS: Numbers = Numbers { own: 0xc000_003e, prlimit: 302, narrow: 0x4000_0003, narrow_prlimit: 340 };
#[cfg(target_arch = "aarch64")]
const NUMBERS: Numbers = Numbers { own: 0xc000_00b7, prlimit: 261, narrow: 0x4000_0028, narrow_prlimit: 369 };

/// Instructions of classic BPF, `linux/bpf_common.h`: load a word, bitwise and, jump if equal, return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Places in what a filter is told, linux/seccomp.h (both machines are little-endian).
const NUMBER_AT: u32 = 0;
const MACHINE_AT: u32 = 4;
const PID_AT: u32 = 16;
const NEW_LIMIT_AT: u32 = 32;
/// Programs of 64 bits with 32-bit pointers (x32) set this bit in numbers that are otherwise the same.
const X32: u32 = 0x4000_0000;
const ALLOW: u32 = 0x7fff_0000;
/// An error for an answer, EPERM.
const REFUSE: u32 = 0x0005_0001;

/// Puts the filter on. Needs `no_new_privs`, and to be the only thread.
pub(super) fn forbid_limits_of_others() -> Result<(), Unfiltered> {
    apply_filter(&filter())
}

fn filter() -> BpfProgram {
    let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let when = |k, jt, jf| sock_filter { code: IF_EQUAL, jt, jf, k };
    // Jumps count the instructions that are passed over.
    vec![
        step(LOAD, MACHINE_AT),
        when(NUMBERS.own, 2, 0),
        when(NUMBERS.narrow, 4, 0),
        step(RETURN, ALLOW),
        step(LOAD, NUMBER_AT),
        step(AND, !X32),
        when(NUMBERS.prlimit, 3, 2),
        step(LOAD, NUMBER_AT),
        when(NUMBERS.narrow_prlimit, 1, 0),
        step(RETURN, ALLOW),
        // The caller's own limits are its business, and so is reading those of others.
        step(LOAD, PID_AT),
        when(0, 5, 0),
        step(LOAD, NEW_LIMIT_AT),
        when(0, 0, 2),
        step(LOAD, NEW_LIMIT_AT + 4),
        when(0, 1, 0),
        step(RETURN, REFUSE),
        step(RETURN, ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers to a call.
    fn answer(machine: u32, number: u32, pid: u32, new_limit: u64) -> u32 {
        let filter = filter();
        let (mut at, mut word) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = filter[at];
            at += 1;
            match code {
                RETURN => return k,
                AND => word &= k,
                IF_EQUAL => at += usize::from(if word == k { jt } else { jf }),
                _ => {
                    word = match k {
                        NUMBER_AT => number,
                        MACHINE_AT => machine,
                        PID_AT => pid,
                        NEW_LIMIT_AT => u32::try_from(new_limit & 0xffff_ffff).unwrap(),
                        _ => u32::try_from(new_limit >> 32).unwrap(),
                    }
                }
            }
        }
    }

    #[test]
    fn setting_the_limits_of_others_is_refused_and_nothing_else() {
        let Numbers { own, prlimit, narrow, narrow_prlimit } = NUMBERS;
        for (machine, number) in [(own, prlimit), (own, prlimit | X32), (narrow, narrow_prlimit)] {
            for new_limit in [1, 1 << 32, u64::MAX] {
                assert_eq!(answer(machine, number, 7, new_limit), REFUSE);
                assert_eq!(answer(machine, number, 0, new_limit), ALLOW, "its own");
            }
            assert_eq!(answer(machine, number, 7, 0), ALLOW, "reading");
            assert_eq!(answer(machine, number + 1, 7, 1), ALLOW, "another call");
        }
        assert_eq!(answer(narrow, prlimit, 7, 1), ALLOW);
        assert_eq!(answer(own, narrow_prlimit, 7, 1), ALLOW);
    }
}
