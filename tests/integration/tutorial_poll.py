#!/usr/bin/env python3
"""The loop that every tutorial on long-polling shows, with only its address changed: 200 with a body is JSON data,
anything else means 'reconnect'."""
import sys

import requests

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/poll?channel=devices/lamp_kitchen"

while True:
    try:
        response = requests.get(URL, timeout=60)
        if response.status_code == 200 and response.content:
            data = response.json()
            print("received:", data, flush=True)
        else:
            print("reconnect", flush=True)
    except requests.exceptions.RequestException as error:
        print("reconnect:", error, flush=True)
