"""`python -m tests.bench.scraper`: scrapers that all come at once, until the server ends.

Prints a line a burst: how many were answered, and after how many seconds the last one was.
"""

import argparse
import asyncio
import time

ASK = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def scrape(port: int) -> bool:
    """One scrape by a connection of its own: whether it was answered."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        answer = await reader.read()
        writer.close()
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200")


async def main() -> None:
    """Burst after burst, each begun `--every` seconds after the last one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--scrapers", type=int, required=True)
    parser.add_argument("--every", type=float, required=True)
    options = parser.parse_args()
    while True:
        begun = time.perf_counter()
        answered = await asyncio.gather(*(scrape(options.port) for _ in range(options.scrapers)))
        took = time.perf_counter() - begun
        if not all(answered) and not await scrape(options.port):
            return  # whom we scraped has ended, which says nothing of how it answered
        print(f"{sum(answered)} {took:.2f}", flush=True)
        await asyncio.sleep(max(0.0, options.every - took))


if __name__ == "__main__":
    asyncio.run(main())
