//! The `command` protocol: `--agent-cmd`, or a configured command. The prompt never passes through the shell.

/// A command alone goes to `sh -c`; with arguments it is a program.
pub(super) fn argv(command: &str, args: &[String]) -> Vec<String> {
    if args.is_empty() {
        return vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()];
    }
    std::iter::once(command.to_owned()).chain(args.iter().cloned()).collect()
}
