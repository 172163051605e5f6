"""The four model APIs, as a client sees them: how a request is made and what one event of the stream adds."""
import http.client
import json
import uuid
from urllib.parse import urlsplit

ZERO = {"input": 0, "cached": 0, "write": 0, "output": 0, "thought": 0}  # input: all of it; output: with thought


class Fault(Exception):
    """A call that failed: kind is status, network, cut, garbage or idle."""

    def __init__(self, kind, message, status=0, kind_of_error="", after=0.0, body="", turn=None):
        super().__init__(message)
        self.kind, self.message, self.status, self.type = kind, message, status, kind_of_error
        self.after, self.body, self.turn = after, body, turn


class Turn:
    """One answer of the model."""

    def __init__(self):
        self.id, self.text, self.calls, self.usage, self.raw, self.done = str(uuid.uuid4()), [], [], dict(ZERO), {}, False
        self.events = []

    def call(self, ident_, name, arguments="", kind="function"):
        self.calls.append({"id": ident_, "name": name, "arguments": arguments, "kind": kind, "input": {}})


# --- the four model APIs: path, headers, body, and how one event of the stream adds to a turn

def anthropic(agent, history, tools):
    messages = []
    for kind, value in history:
        if kind == "user":
            messages.append({"role": "user", "content": [{"type": "text", "text": value}]})
        elif kind == "turn":
            said = [{"type": "text", "text": "".join(value.text)}] if value.text else []
            uses = [{"type": "tool_use", "id": c["id"], "name": c["name"], "input": c["input"]} for c in value.calls]
            messages.append({"role": "assistant", "content": said + uses})
        else:
            parts = [{"type": "tool_result", "tool_use_id": c["id"], "content": out} for c, out in value]
            messages.append({"role": "user", "content": parts})
    schema = {"type": "object"}
    body = {"model": agent.model, "max_tokens": 32000, "system": agent.system, "messages": messages,
            "tools": [{"name": t, "description": t, "input_schema": schema} for t in tools], "stream": agent.streams}
    return "/v1/messages?beta=true", {"x-api-key": agent.key, "anthropic-version": "2023-06-01"}, body


def anthropic_event(turn, e):
    kind = e.get("type")
    if kind == "message":  # not streamed
        turn.id, turn.raw, turn.done = e["id"], e.get("usage") or {}, True
        for block in e["content"]:
            if block["type"] == "text":
                turn.text.append(block["text"])
            elif block["type"] == "tool_use":
                turn.call(block["id"], block["name"], json.dumps(block["input"]))
    elif kind == "message_start":
        turn.id, turn.raw = e["message"]["id"], dict(e["message"].get("usage") or {})
        turn.start = dict(turn.raw)
    elif kind == "content_block_start" and e["content_block"]["type"] == "tool_use":
        turn.call(e["content_block"]["id"], e["content_block"]["name"])
    elif kind == "content_block_delta" and "text" in e["delta"]:
        turn.text.append(e["delta"]["text"])
    elif kind == "content_block_delta" and "partial_json" in e["delta"]:
        turn.calls[-1]["arguments"] += e["delta"]["partial_json"]
    elif kind == "message_delta":
        turn.raw.update({k: v for k, v in (e.get("usage") or {}).items() if v is not None})
    turn.done = turn.done or kind == "message_stop"
    raw = lambda name: turn.raw.get(name) or 0
    cached, write = raw("cache_read_input_tokens"), raw("cache_creation_input_tokens")
    turn.usage = dict(ZERO, input=raw("input_tokens") + cached + write, cached=cached, write=write,
                      output=raw("output_tokens"))


def responses(agent, history, tools):
    items = []
    for kind, value in history:
        if kind == "user":
            items.append({"type": "message", "role": "user", "content": [{"type": "input_text", "text": value}]})
        elif kind == "turn":
            if value.text:
                text = {"type": "output_text", "text": "".join(value.text)}
                items.append({"type": "message", "role": "assistant", "content": [text]})
            for c in value.calls:
                custom = c["kind"] == "custom"
                items.append({"type": "custom_tool_call" if custom else "function_call", "call_id": c["id"],
                              "name": c["name"], "input" if custom else "arguments": c["arguments"]})
        else:
            items += [{"type": f"{'custom_tool' if c['kind'] == 'custom' else 'function'}_call_output",
                       "call_id": c["id"], "output": out} for c, out in value]
    offered = [{"type": "custom", "name": t} if t == "apply_patch" else
               {"type": "function", "name": t, "parameters": {"type": "object"}} for t in tools]
    body = {"model": agent.model, "instructions": agent.system, "input": items, "tools": offered, "store": False,
            "stream": True}
    return "/responses", {"authorization": f"Bearer {agent.key}"}, body


def responses_event(turn, e):
    kind = e.get("type")
    if kind == "response.output_text.delta":
        turn.text.append(e["delta"])
    elif kind == "response.output_item.done" and e["item"]["type"] == "function_call":
        turn.call(e["item"]["call_id"], e["item"]["name"], e["item"]["arguments"])
    elif kind == "response.output_item.done" and e["item"]["type"] == "custom_tool_call":
        turn.call(e["item"]["call_id"], e["item"]["name"], e["item"]["input"], "custom")
    elif kind in ("response.completed", "response.incomplete"):
        u, turn.done = e["response"].get("usage") or {}, True
        turn.usage = dict(ZERO, input=u.get("input_tokens", 0), output=u.get("output_tokens", 0),
                          cached=(u.get("input_tokens_details") or {}).get("cached_tokens", 0),
                          thought=(u.get("output_tokens_details") or {}).get("reasoning_tokens", 0))


def chat(agent, history, tools):
    messages = [{"role": "system", "content": agent.system}]
    for kind, value in history:
        if kind == "user":
            messages.append({"role": "user", "content": value})
        elif kind == "turn":
            calls = [{"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
                     for c in value.calls]
            said = {"role": "assistant", "content": "".join(value.text) or None}
            messages.append(dict(said, tool_calls=calls) if calls else said)
        else:
            messages += [{"role": "tool", "tool_call_id": c["id"], "content": out} for c, out in value]
    body = {"model": agent.model, "messages": messages, "stream": True, "stream_options": {"include_usage": True},
            "max_tokens": 8192}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": t, "parameters": {"type": "object"}}} for t in tools]
    return "/chat/completions", {"authorization": f"Bearer {agent.key}"}, body


def chat_event(turn, e):
    if e == "[DONE]":
        turn.done = True
        return
    for choice in e.get("choices") or []:
        delta = choice.get("delta") or {}
        if delta.get("content"):
            turn.text.append(delta["content"])
        for c in delta.get("tool_calls") or []:
            if c.get("id"):
                turn.call(c["id"], c["function"]["name"])
            turn.calls[-1]["arguments"] += c["function"].get("arguments") or ""
    if e.get("usage"):
        u = e["usage"]
        turn.usage = dict(ZERO, input=u["prompt_tokens"], output=u["completion_tokens"],
                          cached=(u.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
                          thought=(u.get("completion_tokens_details") or {}).get("reasoning_tokens", 0))


def gemini(agent, history, tools):
    contents = []
    for kind, value in history:
        if kind == "user":
            contents.append({"role": "user", "parts": [{"text": value}]})
        elif kind == "turn":
            parts = [{"text": "".join(value.text)}] if value.text else []
            parts += [{"functionCall": {"name": c["name"], "args": c["input"]}} for c in value.calls]
            contents.append({"role": "model", "parts": parts})
        else:
            parts = [{"functionResponse": {"name": c["name"], "response": {"output": out}}} for c, out in value]
            contents.append({"role": "user", "parts": parts})
    declared = [{"name": t, "parametersJsonSchema": {"type": "object"}} for t in tools]
    body = {"contents": contents, "systemInstruction": {"role": "user", "parts": [{"text": agent.system}]},
            "tools": [{"functionDeclarations": declared}], "generationConfig": {"temperature": 1, "topP": 0.95}}
    return f"/v1beta/models/{agent.model}:streamGenerateContent?alt=sse", {"x-goog-api-key": agent.key}, body


def gemini_event(turn, e):
    for candidate in e.get("candidates") or []:
        for part in (candidate.get("content") or {}).get("parts") or []:
            if "functionCall" in part:
                c = part["functionCall"]
                turn.call(f"{c['name']}__{c.get('id') or len(turn.calls)}", c["name"], json.dumps(c["args"]))
            elif part.get("text"):
                turn.text.append(part["text"])
        turn.done = turn.done or bool(candidate.get("finishReason"))
    if e.get("usageMetadata"):
        u = e["usageMetadata"].get
        turn.usage = dict(ZERO, input=u("promptTokenCount", 0), cached=u("cachedContentTokenCount", 0),
                          output=u("candidatesTokenCount", 0) + u("thoughtsTokenCount", 0),
                          thought=u("thoughtsTokenCount", 0))


APIS = {"anthropic": (anthropic, anthropic_event), "responses": (responses, responses_event),
        "chat": (chat, chat_event), "gemini": (gemini, gemini_event)}


def call_model(agent, history, tools):
    """One request, no retry."""
    make, read = APIS[agent.api]
    path, headers, body = make(agent, history, tools)
    url, turn = urlsplit(agent.base), Turn()
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = connect(url.hostname, url.port, timeout=agent.idle)
    headers.update({"content-type": "application/json", "user-agent": f"fake-{agent.name}/1"})
    try:
        connection.request("POST", url.path.rstrip("/") + path, json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise refused(response)
        if "event-stream" not in response.headers.get("content-type", ""):
            read(turn, json.loads(response.read()))
            return finished(turn)
        for line in iter(response.readline, b""):
            if line.startswith(b"data:"):
                data = line[5:].strip()
                event = "[DONE]" if data == b"[DONE]" else json.loads(data)
                turn.events.append(event)
                if event != "[DONE]" and (event.get("type") == "error" or "error" in event):
                    raise Fault("cut", json.dumps(event), turn=turn)
                read(turn, event)
    except ValueError as error:
        raise Fault("garbage", f"Could not parse message into JSON: {error}", turn=turn) from error
    except TimeoutError as error:
        raise Fault("idle", "idle timeout waiting for SSE", turn=turn) from error
    except (OSError, http.client.HTTPException) as error:
        kind = "cut" if turn.events else "network"
        raise Fault(kind, f"Connection error: {error!r}", turn=turn) from error
    finally:
        connection.close()
    return finished(turn)


def finished(turn):
    if not turn.done:
        raise Fault("cut", "stream closed before its end", turn=turn)
    for c in turn.calls:
        c["input"] = {"input": c["arguments"]} if c["kind"] == "custom" else json.loads(c["arguments"] or "{}")
    return turn


def refused(response):
    text = response.read().decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        error = {"message": text[:200]}
    try:
        after = float(response.headers.get("retry-after") or 0)
    except ValueError:
        after = 0.0
    return Fault("status", error.get("message", ""), response.status, error.get("type", ""), after, text)
