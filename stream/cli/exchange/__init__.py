"""Commands about other countries: agreements, circles, repositories, hubs, reports."""
