"""A responder with a tool: the LLM calls it, cloudia runs it, and the LLM goes on with the result."""

import ast
import operator
from collections.abc import AsyncIterator, Callable

from cloudia.worker import Tool, Turn

OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


async def calculate(expression: str) -> str:
    """Return the value of an expression of numbers and + - * /."""
    return f"{expression} = {value(ast.parse(expression, mode='eval').body):g}"


def value(node: ast.expr) -> float:
    """Return the value of a parsed expression; nothing but arithmetic is ever evaluated."""
    match node:
        case ast.Constant(int() | float() as number):
            return number
        case ast.BinOp(left, kind, right) if type(kind) in OPERATORS:
            return OPERATORS[type(kind)](value(left), value(right))
        case _:
            raise ValueError("that is no arithmetic")


CALCULATOR = Tool(
    name="calculate",
    description="Calculate an arithmetic expression, such as 6 * 7.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
        "additionalProperties": False,
    },
    call=calculate,
)


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Answer with the LLM, which may calculate."""
    async for text in turn.llm.stream(turn.messages, tools=[CALCULATOR]):
        yield text
