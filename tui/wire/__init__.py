"""What goes over the line: only the cells that changed, and one live repaint at a time.

Textual sends whole widget areas: 10-28 KB for a Tab at 80x24. Here each repaint first lands in a model of the screen
(`cells`), and what differs from the terminal's own is sent (`encoder`, `pens`), when the terminal has shown the repaint
before it (`pacing`). `line` joins the three, `driver` connects them to the terminal, `display` to the Textual app.
`VCB_WIRE=off` in the environment leaves all of it out.
"""
