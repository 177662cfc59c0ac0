"""Small talk with one good answer, and plain words about what cannot be done here."""

from __future__ import annotations

import re

from edge_client.device.skills import Request, skill
from routing.turns import Message

_OWN_NAME = re.compile(r"\b(?:my name is|my name's|call me) ([a-z][a-z'-]*)", re.IGNORECASE)

_JOKES = (
    "Why did the bicycle fall over? It was two tired.",
    "What do you call a fish without eyes? A fsh.",
    "Why don't eggs tell jokes? They would crack each other up.",
    "What is orange and sounds like a parrot? A carrot.",
)
_FACTS = (
    "Honey never spoils. Pots of it from ancient Egypt could still be eaten.",
    "An octopus has three hearts.",
    "A day on Venus is longer than its year.",
    "Bananas are berries, but strawberries are not.",
)


@skill("hello", "hi", "hi there", "hey", "hello there", "good morning", "good afternoon", "good evening")
def greeting(request: Request) -> str:
    for part in ("morning", "afternoon", "evening"):
        if part in request.text.lower():
            return f"Good {part}! What can I do for you?"
    return "Hello! What can I do for you?"


@skill("how are you", "how are you doing today", "how is it going", "how do you feel", "what's up")
def wellbeing(_request: Request) -> str:
    return "I'm fine, thank you. How are you?"


@skill("i'm fine", "i'm fine thank you", "i am doing well", "i feel great today", "i'm happy")
def gladness(_request: Request) -> str:
    return "I'm glad to hear that. What can I do for you?"


@skill(
    "i feel sad",
    "i'm not feeling well",
    "i'm tired",
    "i had a bad day",
    "i had a long day at work",
    "i'm lonely",
    "my dog is sick",
)
def sympathy(_request: Request) -> str:
    return "I'm sorry to hear that. Do you want to tell me about it?"


@skill("my name is anna", "i'm tom", "you can call me maria", "nice to meet you")
def introduction(request: Request) -> str:
    found = _OWN_NAME.search(request.text)
    return f"Nice to meet you, {found[1].title()}." if found else "Nice to meet you too."


@skill("what is my name", "what's my name again", "do you remember my name", "who am i")
def callers_name(request: Request) -> str:
    said = (item.text for item in reversed(request.history) if isinstance(item, Message) and item.role == "user")
    found = next((match for text in said if (match := _OWN_NAME.search(text))), None)
    return f"Your name is {found[1].title()}." if found else "You haven't told me your name."


@skill("thank you", "thanks", "thank you very much", "thanks a lot", "that was helpful")
def thanks(_request: Request) -> str:
    return "You're welcome!"


@skill("goodbye", "bye", "bye bye", "see you later", "good night", "talk to you later", "that's all for now")
def farewell(request: Request) -> str:
    return "Good night! Sleep well." if "night" in request.text.lower() else "Goodbye! Talk to you soon."


@skill(
    "say that again",
    "can you repeat that",
    "repeat that please",
    "what did you say",
    "pardon",
    "i didn't hear you",
    "come again",
)
def repetition(request: Request) -> str:
    return request.last_answer or "I haven't said anything yet."


@skill("what did i say", "what did i just say", "repeat what i said")
def echo(request: Request) -> str:
    return f"You said: {request.last_question}" if request.last_question else "You haven't said anything yet."


@skill(
    "what can you do",
    "how can you help me",
    "what can i ask you",
    "what are your skills",
    "help",
    "what do you know",
)
def abilities(_request: Request) -> str:
    return (
        "I can tell you the time and the date, set timers and reminders, do sums, answer simple questions,"
        " and chat a little."
    )


@skill("what is your name", "who are you", "what are you called", "who made you")
def name(_request: Request) -> str:
    return "I'm Antiphon, a voice assistant that runs on this device."


@skill(
    "are you a robot",
    "are you human",
    "are you a real person",
    "am i talking to a machine",
    "how old are you",
)
def nature(_request: Request) -> str:
    return "I'm a program, a small one that lives on this device."


@skill("tell me a joke", "make me laugh", "do you know a joke", "another joke", "say something funny")
def joke(request: Request) -> str:
    return _turn_about(_JOKES, request)


@skill("tell me something interesting", "tell me a fun fact", "i'm bored", "surprise me")
def fact(request: Request) -> str:
    return _turn_about(_FACTS, request)


def _turn_about(answers: tuple[str, ...], request: Request) -> str:
    """Another one each time the conversation has gone on, and the same one when the same reply is asked for again."""
    return answers[len(request.history) // 2 % len(answers)]


@skill(
    "what's the weather like",
    "what is the weather there",
    "will it rain tomorrow",
    "how hot is it outside",
    "do i need an umbrella",
    "what is in the news",
    "who won the game last night",
    "how is the traffic",
    "what is the stock price of apple",
    declines=True,
)
def live_information(_request: Request) -> str:
    return "I'm sorry, I can't look that up from here."


@skill(
    "play some music",
    "play a song",
    "turn on the lights",
    "turn off the lamp",
    "call my mother",
    "send a message to anna",
    "open the door",
    "buy me a ticket",
    "order a pizza",
    "turn up the heating",
    declines=True,
)
def deeds(_request: Request) -> str:
    return "I'm sorry, I can't do that from here."


@skill("stop", "be quiet", "shut up", "never mind", "cancel", "forget it", "okay", "all right", "i see")
def acknowledgement(_request: Request) -> str:
    return "All right."


@skill(
    "how many days are in a week",
    "how many minutes are in an hour",
    "how long does the day last on the moon",
    "what time does the store open",
    "what is the date of independence day",
    "what does time mean",
    "what does that word mean",
    "how do you say goodbye in spanish",
    "do you like pizza",
    "what kind of music do you like",
    "i play the guitar",
    "i love to sing songs",
    "i think it is going to rain",
    "i like sunny weather",
    "what is rain",
    "what is a good name for a dog",
    "what is the capital of france",
    "can you help me sleep",
    "i bought a new lamp",
    "do you know the city of rome",
    "i live in london",
    "paris is a nice city",
    "what does goodbye mean",
)
def conversation(_request: Request) -> None:
    """Questions close to a skill that belong to the language model."""
