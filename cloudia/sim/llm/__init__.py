"""The simulated provider: an HTTP server that speaks the APIs of OpenAI and Anthropic, the same answer every time.

It runs as a child process, `python -m cloudia.sim.llm --port 0`, and says on stdout where it listens. Clients of
OpenAI use `http://HOST:PORT/v1`, clients of Anthropic `http://HOST:PORT`; any key will do, unless one was given to it, and any
model.

The last user message can steer the answer:

    [[words:500]]                   an answer of 500 words (at most 20,000)
    [[tool:NAME {"city": "Oslo"}]]  a call of the tool NAME, if the request offers it and no tool has answered yet

Under `/_cloudia/` the process that started it makes it fail on demand, scripts its answers, has it play cases of what
real servers sent, sets its pace and reads what it was asked: see `control`.
"""
