"""The agents: how maestro-ci is told of each, and which models they are to ask for."""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Agent:
    """One row of the table."""

    name: str
    program: str
    model: str
    # Whose dialect it speaks: anthropic, openai or gemini.
    provider: str
    # A limit on cost that lets some calls through: the most that one of its calls may cost, and a little.
    max_cost: str = "0.30"
    # Variables of the user's own that it is to see.
    env: dict = field(default_factory=dict)

    def flags(self):
        """What maestro-ci is called with."""
        if self.program == self.name:
            return ["--agent", self.name, "--model", self.model]
        entry = f"{{protocol: acp, command: {self.program}, env_pass: [{', '.join(self.env)}]}}"
        return ["--agent", self.name, "--model", self.model, "--set", f"agents.{self.name}={entry}"]

    def title(self, versions):
        program = {"claude-agent-acp": "claude-agent-acp (ACP)"}.get(self.program, self.program)
        return f"{program} {versions[self.program]}"


# opencode works through Anthropic here, so that its own use of that API is measured beside claude's. The agent behind
# ACP takes its habits from variables, and offers its client the model that one of them names.
CREW = (
    Agent("claude", "claude", "claude-sonnet-4-5", "anthropic", max_cost="0.75"),
    Agent("codex", "codex", "gpt-5.5", "openai"),
    Agent("gemini", "gemini", "gemini-2.5-pro", "gemini"),
    Agent("opencode", "opencode", "anthropic/claude-sonnet-4-5", "anthropic"),
    Agent("qwen", "qwen", "qwen3-coder-plus", "openai"),
    Agent("acp", "claude-agent-acp", "claude-sonnet-4-5", "anthropic", max_cost="0.75", env={
        "ANTHROPIC_MODEL": "claude-sonnet-4-5",
        "CLAUDE_CODE_MAX_RETRIES": "4",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION": "false",
    }),
)
